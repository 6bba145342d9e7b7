"""When to look at the log: on a wake, else at the poll interval."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence

from eric_sse_django import conf
from eric_sse_django.log import log_dialect

Stamps = tuple["tuple[int, int] | None", ...]

# Seconds after which no commit is hidden by the file's time: the coarsest clocks have 2 s.
COARSE_S = 3.0
# Seconds between two looks at the log of a database whose files stand still. Fewer would do,
# but a look also finds that the database is away.
STILL_S = 5.0


class Lookout:
    """
    Waits for a reason to look: that ring() was called, or time. One coroutine waits.

    On SQLite the times and sizes of its files show that a process has committed, so that
    others need no layer to be noticed soon. (Two looks cost 3 µs. PRAGMA data_version takes
    as long, but a call of the hub's thread: 0.15 % of a core at five looks a second.) What
    they do not show, for a file system's clock is coarse, waits for the poll; once they
    stand still that is nothing, and the database is asked nearly nothing.
    """

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._poll_at = time.monotonic()
        self._stamps: Stamps = ()
        self._changed_at = 0.0

    def ring(self) -> None:
        """Have wait() return. Only on the loop, where it keeps until the next wait()."""
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return at the next reason to look: POLL_INTERVAL_S at most, or STILL_S."""
        if not self._rung:
            every_s = min(conf.get("SQLITE_LOOK_INTERVAL_S"), conf.get("POLL_INTERVAL_S"))
            self._waiter = asyncio.get_running_loop().create_future()
            self._look_on(_files(), every_s)
            try:
                await self._waiter
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                self._waiter = self._timer = None
        # Before the read that follows: a wake that comes later is kept.
        self._rung = False
        self._poll_at = time.monotonic() + self._rest_s()

    def _look_on(self, files: Sequence[str], every_s: float) -> None:
        # By timers alone: five times a second on SQLite no task is woken to look at files.
        pause = self._poll_at - time.monotonic()
        if pause <= 0:
            self.ring()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            min(pause, every_s) if files else pause, self._look, files, every_s
        )

    def _look(self, files: Sequence[str], every_s: float) -> None:
        if self._changed(files):
            self.ring()
        else:
            self._look_on(files, every_s)

    def _rest_s(self) -> float:
        # Jitter, so that many processes do not ask the database in step.
        rest_s: float = conf.get("POLL_INTERVAL_S") * random.uniform(0.8, 1)
        is_still = any(self._stamps) and time.monotonic() - self._changed_at > COARSE_S
        return max(rest_s, STILL_S) if is_still else rest_s

    def _changed(self, files: Sequence[str]) -> bool:
        before, self._stamps = self._stamps, tuple(map(_stamp, files))
        if self._stamps == before:
            return False
        self._changed_at = time.monotonic()
        return True


def _files() -> tuple[str, ...]:
    """Return the files that a commit to a SQLite database changes: its log, or itself."""
    return log_dialect().files()


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except (OSError, ValueError):  # there is none: it is in memory, or has no log now
        return None
    return found.st_mtime_ns, found.st_size
