"""When to look at the log: on a wake, else at the poll interval."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.db import connections

from eric_sse_django import conf
from eric_sse_django.log import database


class Lookout:
    """
    Waits for a reason to look. `alarm` is set by wakes, on the loop.

    On SQLite a counter of the database shows what other processes commit (3.6 µs a
    look), so that they need no layer to be noticed soon.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]]) -> None:
        self.alarm = asyncio.Event()
        self._run = run
        self._poll_at = time.monotonic()
        self._version: int | None = None

    async def wait(self) -> None:
        """Return at the next reason to look: POLL_INTERVAL_S at most."""
        counts_changes = connections[database()].vendor == "sqlite"
        while not self.alarm.is_set():
            pause = self._poll_at - time.monotonic()
            if pause <= 0:
                break
            if counts_changes:
                pause = min(pause, conf.get("SQLITE_LOOK_INTERVAL_S"))
            await self._pause(pause)
            if counts_changes and not self.alarm.is_set() and await self._changed():
                break
        # Before the read that follows: a wake that comes later is kept.
        self.alarm.clear()
        # Jitter, so that many processes do not ask the database in step.
        self._poll_at = time.monotonic() + conf.get("POLL_INTERVAL_S") * random.uniform(0.8, 1)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.alarm.wait(), seconds)

    async def _changed(self) -> bool:
        before, self._version = self._version, await self._run(_data_version)
        return self._version != before


def _data_version() -> int:
    with connections[database()].cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        return int(cursor.fetchone()[0])
