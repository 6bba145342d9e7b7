"""The positions that streams have reached, and how they are written to the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.utils import timezone

from eric_sse_django.log import Known, database, dialect_of, is_as_known, lock_free

# Listeners written in one transaction: within every database's limit of parameters, and
# short enough that the reads of the log, on the same thread, need not wait for long.
WRITE_BATCH = 500

# Seconds between the lookup of a listener and the beginning of its stream: one that was
# looked up during a write has its old cursor. No longer, for an operator's replay lowers a
# cursor.
LOOKUP_S = 1.0


def _nothing_known() -> Known:
    return Known(0)


class Reached(NamedTuple):
    """
    The position up to which a listener, by its key, was served; and the row's count of replays.

    What was reached before an operator's replay is void: the row has another count then.
    """

    listener: int
    position: int
    replays: int = 0


class Cursors:
    """
    Collects positions and writes them in batches: one UPDATE for each distinct one.

    `known` returns what the hub knows of the log: nothing is written to another one.
    """

    def __init__(self, known: Callable[[], Known] = _nothing_known) -> None:
        self.known = known
        self._reached: dict[int, Reached] = {}
        self._writing: dict[int, Reached] = {}
        self._written: dict[int, Reached] = {}
        self._written_at = 0.0
        self._histories = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def dirty(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._reached)

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._reached)

    def reached(self, listener: int, position: int, replays: int = 0) -> None:
        """Note that a listener was served up to a position, and has been seen."""
        old = self._reached.get(listener)
        if old is None or (replays, position) >= (old.replays, old.position):
            self._reached[listener] = Reached(listener, position, replays)

    def unwritten(self, listener: int, replays: int = 0) -> int:
        """Return the position a listener has reached, 0 if a lookup has found it."""
        if time.monotonic() - self._written_at > LOOKUP_S:
            self._written = {}
        position = 0
        for lately in (self._reached, self._writing, self._written):
            found = lately.get(listener)
            if found is not None and found.replays == replays:
                position = max(position, found.position)
        return position

    def pending(self) -> list[Reached]:
        """Return what is not known to be written, by position."""
        merged = dict(self._writing)
        for each in self._reached.values():
            _keep_later(merged, each)
        return sorted(merged.values(), key=_position)

    def forget(self) -> None:
        """Drop all that waits or is being written: it was reached in another history."""
        self._histories += 1
        self._reached, self._writing, self._written = {}, {}, {}

    def final_calls(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that write what waits without a loop."""
        left, known = self.pending(), self.known()
        starts = range(0, len(left), WRITE_BATCH)
        return [(write, left[first : first + WRITE_BATCH], known) for first in starts]

    async def flush(self, run: Callable[..., Awaitable[Any]]) -> None:
        """Write what waits, on the thread that `run` calls on. What fails waits again."""
        async with self._one_at_a_time:
            left, histories = self.pending(), self._histories
            self._writing, self._reached = {each.listener: each for each in left}, {}
            try:
                while left and histories == self._histories:
                    locked = await run(write, left[:WRITE_BATCH], self.known())
                    left = left[WRITE_BATCH:]
                    self._keep(locked, histories)
            finally:
                self._keep(left, histories)
                if histories == self._histories:
                    self._written, self._writing = self._writing, {}
                self._written_at = time.monotonic()

    def _keep(self, left: Sequence[Reached], histories: int) -> None:
        if histories == self._histories:
            for each in left:
                _keep_later(self._reached, each)


def _keep_later(kept: dict[int, Reached], new: Reached) -> None:
    """Keep the higher position, of those after the listener's last replay."""
    old = kept.get(new.listener)
    if old is None or (new.replays, new.position) >= (old.replays, old.position):
        kept[new.listener] = new


def _position(each: Reached) -> tuple[int, int]:
    return each.position, each.replays


def write(positions: Sequence[Reached], known: Known) -> list[Reached]:
    """
    Raise the cursors of listeners in one transaction, never lowering one.

    Returns those that others have locked: they are written next time. If the log is not the one
    that is known, or a listener was replayed meanwhile, nothing is written.
    """
    using = database()
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        if known.position and not is_as_known(known):
            return []
        locked = lock_free([each.listener for each in positions])
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        for (position, replays), group in groupby(sorted(positions, key=_position), key=_position):
            keys = [str(each.listener) for each in group if each.listener not in locked]
            if keys:
                cursor.execute(_raise(using).format(",".join(keys)), [position, now, replays])
    return [each for each in positions if each.listener in locked]


@lru_cache
def _raise(using: str) -> str:
    """Return the UPDATE of listeners whose keys go to `{}`: of 500, Django's takes 5 ms."""
    dialect = dialect_of(connections[using])
    column = dialect.connection.ops.quote_name("cursor")
    return (
        f"UPDATE {dialect.listeners} "
        f"SET {column} = {dialect.greatest}({column}, %s), last_seen = %s "
        "WHERE id IN ({}) AND replays = %s"
    )
