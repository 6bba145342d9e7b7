"""What a revocation ends, found without a look at anything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from eric_sse_django.hub.ends import End


class Endable(Protocol):
    """A stream, or a monitor page. Its `subjects` are keys_of() those whose revocation ends it."""

    subjects: tuple[int, ...]

    def end(self, reason: End) -> None: ...


def keys_of(subjects: Iterable[str]) -> tuple[int, ...]:
    """Return subjects as a process keeps them: 36 bytes for each, where the text takes 120."""
    return tuple({hash(subject) for subject in subjects})


class Subjects:
    """
    What is open, by the subjects whose revocation ends it. Only for the hub's loop.

    A notice costs what it concerns: of 20,000 streams each logout looked at every one, 55 ms.
    """

    def __init__(self) -> None:
        # A set of one takes 216 bytes, and most subjects have one stream.
        self._by_key: dict[int, Endable | set[Endable]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, one: Endable) -> None:
        """Have it found by each of its subjects."""
        for key in one.subjects:
            found = self._by_key.get(key)
            if found is None:
                self._by_key[key] = one
            elif isinstance(found, set):
                found.add(one)
            elif found is not one:
                self._by_key[key] = {found, one}

    def discard(self, one: Endable) -> None:
        """Have it found no more; one that is not there changes nothing."""
        for key in one.subjects:
            found = self._by_key.get(key)
            if isinstance(found, set):
                found.discard(one)
            if found is one or found == set():
                del self._by_key[key]

    def all(self) -> set[Endable]:
        """Return all that a revocation could end."""
        found: set[Endable] = set()
        for each in self._by_key.values():
            found |= each if isinstance(each, set) else {each}
        return found

    def of(self, subjects: Iterable[str]) -> set[Endable]:
        """Return what the revocation of some subjects ends."""
        ended: set[Endable] = set()
        for key in keys_of(subjects):
            found = self._by_key.get(key)
            if isinstance(found, set):
                ended |= found
            elif found is not None:
                ended.add(found)
        return ended
