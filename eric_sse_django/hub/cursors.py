"""The positions that streams have reached, on their way to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import Any

from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from eric_sse_django.log import database
from eric_sse_django.models import Listener

# Listeners named in one UPDATE: within every database's limit of parameters.
UPDATE_BATCH = 500


class Cursors:
    """Collects positions and writes them in batches: one UPDATE for each distinct one."""

    def __init__(self) -> None:
        self._reached: dict[int, int] = {}
        self._writing: dict[int, int] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def dirty(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._reached)

    def reached(self, listener: int, position: int) -> None:
        """Note that a listener was served up to a position, and has been seen."""
        self._reached[listener] = max(position, self._reached.get(listener, 0))

    def unwritten(self, listener: int) -> int:
        """Return the position a listener has reached, 0 when the database knows it."""
        return max(self._reached.get(listener, 0), self._writing.get(listener, 0))

    async def flush(self, run: Callable[..., Awaitable[Any]]) -> None:
        """Write what waits, on the thread that `run` calls on. On an error it goes on waiting."""
        async with self._one_at_a_time:
            self._writing, self._reached = self._reached, {}
            try:
                if self._writing:
                    await run(write, tuple(self._writing.items()))
            except BaseException:
                for listener, position in self._writing.items():
                    self.reached(listener, position)
                raise
            finally:
                self._writing = {}


def write(positions: Iterable[tuple[int, int]]) -> None:
    """Raise the cursors of (listener, position) pairs, never lowering one."""
    now = timezone.now()
    listeners = Listener.objects.using(database())
    by_position = sorted(positions, key=lambda pair: (pair[1], pair[0]))
    for position, group in groupby(by_position, key=lambda pair: pair[1]):
        keys = [listener for listener, _ in group]
        for first in range(0, len(keys), UPDATE_BATCH):
            some = listeners.filter(pk__in=keys[first : first + UPDATE_BATCH])
            some.update(cursor=Greatest(F("cursor"), position), last_seen=now)
