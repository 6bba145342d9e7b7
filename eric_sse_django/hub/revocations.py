"""What a revocation ends: what is open, by its subjects, and what was revoked a moment ago."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from eric_sse_django.hub.ends import End

# Seconds for which a revocation is remembered: longer than from the check of a stream's access
# to its registration here.
REMEMBERED_S = 60.0


class Endable(Protocol):
    """A stream, or a monitor page. `subjects` are keys_of() those whose revocation ends it."""

    subjects: tuple[int, ...]

    def end(self, reason: End) -> None: ...


def keys_of(subjects: Iterable[str]) -> tuple[int, ...]:
    """Return subjects as a process keeps them: 36 bytes for each, where the text takes 120."""
    return tuple(set(map(hash, subjects)))


class Revocations:
    """
    What is open, by the subjects whose revocation ends it. Only for the hub's loop.

    A notice costs what it concerns: for each logout all of 20,000 streams were visited, 55 ms.
    """

    def __init__(self) -> None:
        # A set of one takes 216 bytes, and most subjects have one stream.
        self._by_key: dict[int, Endable | set[Endable]] = {}
        self._lately: deque[tuple[float, int, frozenset[int]]] = deque()
        self._begun = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, one: Endable) -> None:
        """Register it for each of its subjects."""
        for key in one.subjects:
            found = self._by_key.get(key)
            if found is None:
                self._by_key[key] = one
            elif isinstance(found, set):
                found.add(one)
            elif found is not one:
                self._by_key[key] = {found, one}

    def discard(self, one: Endable) -> None:
        """Remove it; it may be removed twice."""
        for key in one.subjects:
            found = self._by_key.get(key)
            if isinstance(found, set):
                found.discard(one)
            if found is one or found == set():
                del self._by_key[key]

    def of(self, keys: Iterable[int]) -> set[Endable]:
        """Return what has one of these subjects, by their keys."""
        result: set[Endable] = set()
        for key in keys:
            found = self._by_key.get(key)
            if isinstance(found, set):
                result |= found
            elif found is not None:
                result.add(found)
        return result

    def revoke(self, position: int, subjects: Iterable[str]) -> None:
        """End what is open, and remember the notice at `position` for what is being opened."""
        now, keys = time.monotonic(), frozenset(keys_of(subjects))
        while self._lately and now - self._lately[0][0] > REMEMBERED_S:
            self._lately.popleft()
        self._lately.append((now, position, keys))
        for each in self.of(keys):
            each.end(End.REVOKED)

    def begin_history(self, position: int) -> None:
        """End all: what was looked up before `position` may be another row now."""
        self._begun = position
        self._lately.clear()
        for each in self.of(tuple(self._by_key)):
            each.end(End.HISTORY)

    def catch_up(self, one: Endable, position: int) -> None:
        """End what a notice after a position would have ended, had it been open."""
        if position < self._begun:
            one.end(End.HISTORY)
            return
        for _, at, keys in reversed(self._lately):
            if at <= position:
                return
            if not keys.isdisjoint(one.subjects):
                one.end(End.REVOKED)
                return
