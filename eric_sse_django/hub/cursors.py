"""The positions that streams have reached, on their way to the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from django.db import connections, transaction
from django.utils import timezone

from eric_sse_django.log import database, lock_free
from eric_sse_django.models import Listener

# Listeners written in one transaction: within every database's limit of parameters, and
# short enough that the reads of the log, on the same thread, need not wait for long.
WRITE_BATCH = 500

# Seconds between the lookup of a listener and the beginning of its stream: one that was
# looked up amid a write has its cursor of before. No longer, for an operator's replay
# lowers a cursor.
LOOKUP_S = 1.0

Reached = tuple[int, int]  # a listener's key, and its position


class Cursors:
    """Collects positions and writes them in batches: one UPDATE for each distinct one."""

    def __init__(self) -> None:
        self._reached: dict[int, int] = {}
        self._writing: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._written_at = 0.0
        self._one_at_a_time = asyncio.Lock()

    @property
    def dirty(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._reached)

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._reached)

    def reached(self, listener: int, position: int) -> None:
        """Note that a listener was served up to a position, and has been seen."""
        if position >= self._reached.get(listener, 0):
            self._reached[listener] = position

    def unwritten(self, listener: int) -> int:
        """Return the position a listener has reached, 0 where the database knew it before."""
        if time.monotonic() - self._written_at > LOOKUP_S:
            self._written = {}
        lately = self._reached, self._writing, self._written
        return max(positions.get(listener, 0) for positions in lately)

    def pending(self) -> list[Reached]:
        """Return what is not known to be written, by position."""
        merged = dict(self._writing)
        for listener, position in self._reached.items():
            merged[listener] = max(position, merged.get(listener, 0))
        return sorted(merged.items(), key=_position)

    def last_words(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that write what waits without a loop."""
        left = self.pending()
        starts = range(0, len(left), WRITE_BATCH)
        return [(write, left[first : first + WRITE_BATCH]) for first in starts]

    async def flush(self, run: Callable[..., Awaitable[Any]]) -> None:
        """Write what waits, on the thread that `run` calls on. What fails goes on waiting."""
        async with self._one_at_a_time:
            left = self.pending()
            self._writing, self._reached = dict(left), {}
            try:
                while left:
                    for pair in await run(write, left[:WRITE_BATCH]):
                        self.reached(*pair)
                    left = left[WRITE_BATCH:]
            finally:
                for pair in left:
                    self.reached(*pair)
                self._written, self._writing = self._writing, {}
                self._written_at = time.monotonic()


def _position(pair: Reached) -> int:
    return pair[1]


def write(positions: Sequence[Reached]) -> list[Reached]:
    """
    Raise the cursors of listeners in one transaction, never lowering one.

    Returns those that others have locked: they are left for the next time.
    """
    using = database()
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        locked = lock_free([listener for listener, _ in positions])
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        for position, group in groupby(sorted(positions, key=_position), key=_position):
            keys = [str(listener) for listener, _ in group if listener not in locked]
            if keys:
                cursor.execute(_raise(using).format(",".join(keys)), [position, now])
    return [pair for pair in positions if pair[0] in locked]


@lru_cache
def _raise(using: str) -> str:
    """Return the UPDATE of listeners whose keys go to `{}`: of 500, Django's takes 5 ms."""
    connection = connections[using]
    table = connection.ops.quote_name(Listener._meta.db_table)
    greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
    raised = f"{greatest}({connection.ops.quote_name('cursor')}, %s)"
    return (
        f"UPDATE {table} SET {connection.ops.quote_name('cursor')} = {raised}, last_seen = %s "
        "WHERE id IN ({})"
    )
