"""When to look at the log: on a wake, else at the poll interval."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Sequence

from django.db import connections

from eric_sse_django import conf
from eric_sse_django.log import database

Stamps = tuple["tuple[int, int] | None", ...]


class Lookout:
    """
    Waits for a reason to look. `alarm` is set by wakes, on the loop.

    On SQLite the times and sizes of its files show that a process has committed, so that
    others need no layer to be noticed soon. (Two looks cost 3 µs. PRAGMA data_version takes
    as long, but a call of the hub's thread: 0.15 % of a core at five looks a second.) What
    they do not show, for a file system's clock is coarse, waits for the poll.
    """

    def __init__(self) -> None:
        self.alarm = asyncio.Event()
        self._poll_at = time.monotonic()
        self._stamps: Stamps = ()

    async def wait(self) -> None:
        """Return at the next reason to look: POLL_INTERVAL_S at most."""
        files = _files()
        while not self.alarm.is_set():
            pause = self._poll_at - time.monotonic()
            if pause <= 0:
                break
            if files:
                pause = min(pause, conf.get("SQLITE_LOOK_INTERVAL_S"))
            await self._pause(pause)
            if not self.alarm.is_set() and self._changed(files):
                break
        # Before the read that follows: a wake that comes later is kept.
        self.alarm.clear()
        # Jitter, so that many processes do not ask the database in step.
        self._poll_at = time.monotonic() + conf.get("POLL_INTERVAL_S") * random.uniform(0.8, 1)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.alarm.wait(), seconds)

    def _changed(self, files: Sequence[str]) -> bool:
        before, self._stamps = self._stamps, tuple(map(_stamp, files))
        return self._stamps != before


def _files() -> tuple[str, ...]:
    """Return the files that a commit to a SQLite database changes: its log, or itself."""
    connection = connections[database()]
    if connection.vendor != "sqlite":
        return ()
    name = str(connection.settings_dict["NAME"])
    return f"{name}-wal", name


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except (OSError, ValueError):  # there is none: it is in memory, or has no log now
        return None
    return found.st_mtime_ns, found.st_size
