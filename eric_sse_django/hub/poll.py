"""When to read the log: on a wake, when SQLite's files have changed, else at the poll interval."""

from __future__ import annotations

import asyncio
import os
import random
import time

from eric_sse_django import conf
from eric_sse_django.log import log_dialect

Stamps = tuple["tuple[int, int] | None", ...]

# Seconds after which no commit is hidden by the file's time: the coarsest clocks have 2 s.
COARSE_S = 3.0
# Seconds between two reads of the log of a database whose files do not change. Fewer would do,
# but a read also finds that the database is unavailable.
STILL_S = 5.0
# Seconds after which the settings and the files' names are read again.
CONFIGURE_S = 1.0


class Poll:
    """
    Waits for a reason to read the log: wake(), or time. One coroutine waits.

    On SQLite the times and sizes of its files show that a process has committed, so that messages
    of other processes are noticed soon without a channel layer. (Two calls of stat() take 3 µs.
    PRAGMA data_version takes as long, but on the hub's thread: 0.15 % of a core at five looks a
    second.) The poll finds a commit that they do not show because a file system's clock is
    coarse. While they do not change, there is almost no query.
    """

    def __init__(self) -> None:
        self._is_woken = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._poll_at = time.monotonic()
        self._stamps: Stamps = ()
        self._changed_at = 0.0
        self._configure(time.monotonic())

    def _configure(self, now: float) -> None:
        """Read the settings and the names of the files, which may be links."""
        self._configured_at = now
        self._interval_s: float = conf.get("POLL_INTERVAL_S")
        self._look_s = min(conf.get("SQLITE_LOOK_INTERVAL_S"), self._interval_s)
        self._files = log_dialect().files()

    def wake(self) -> None:
        """End wait(), the next one if nothing waits. Only on the loop."""
        self._is_woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return at the next reason to read: after POLL_INTERVAL_S at most, or STILL_S."""
        if not self._is_woken:
            self._waiter = asyncio.get_running_loop().create_future()
            self._set_timer()
            try:
                await self._waiter
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                self._waiter = self._timer = None
        # Before the read that follows: a wake that comes later is kept.
        self._is_woken = False
        # Jitter, so that many processes do not query the database at the same moments.
        now = time.monotonic()
        if now - self._configured_at > CONFIGURE_S:
            self._configure(now)
        rest_s = self._interval_s * random.uniform(0.8, 1)
        is_still = now - self._changed_at > COARSE_S and any(self._stamps)
        self._poll_at = now + (max(rest_s, STILL_S) if is_still else rest_s)

    def _set_timer(self) -> None:
        # By timers alone: five times a second on SQLite no task is woken to look at files.
        pause_s = self._poll_at - time.monotonic()
        if pause_s <= 0:
            self.wake()
            return
        pause_s = min(pause_s, self._look_s) if self._files else pause_s
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._look)

    def _look(self) -> None:
        if self._has_changed():
            self.wake()
        else:
            self._set_timer()

    def _has_changed(self) -> bool:
        before, self._stamps = self._stamps, tuple(map(_stamp, self._files))
        if self._stamps == before:
            return False
        self._changed_at = time.monotonic()
        return True


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except (OSError, ValueError):  # there is none: it is in memory, or has no log now
        return None
    return found.st_mtime_ns, found.st_size
