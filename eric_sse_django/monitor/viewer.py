"""One open monitor page: its snapshots on their way out, until one side ends it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from django.db import Error as DatabaseError

from eric_sse_django import conf, wire
from eric_sse_django.streaming.clock import LAST_WRITE_S, Clock

# Snapshots kept for a client that is slow to read; the oldest is dropped for the next.
MOST_KEPT = 5
# Seconds for which the permission to watch is taken for granted before it is checked again.
CHECK_S = 20.0
# Milliseconds after which the page comes back.
RETRY_MS = 1_000

Write = Callable[[bytes, bool], Awaitable[None]]
Check = Callable[[], Coroutine[Any, Any, bool]]


class Viewer:
    """
    Holds a few snapshots at most. Made when its reader was let in, on the running loop.

    `reason` tells why it ended, None before; `was_cut`, that its last write was not done.
    `subjects` are hub.keys_of() those whose revocation ends it.
    """

    def __init__(self, subjects: tuple[int, ...] = ()) -> None:
        self.subjects = subjects
        self.reason: str | None = None
        self.was_cut = False
        self._ended = asyncio.get_running_loop().create_future()
        self._offered = asyncio.Event()
        self._chunks: deque[bytes] = deque(maxlen=MOST_KEPT)
        self._clock = Clock(None)
        self._checked_at = time.monotonic()

    def offer(self, chunk: bytes) -> None:
        """Have it written next. Never waits."""
        self._chunks.append(chunk)
        self._offered.set()

    def end(self, reason: str) -> None:
        """Have it end, also amid a write that does not return; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            if not self._ended.done():
                self._ended.set_result(None)

    def abort(self, reason: str) -> None:
        """As end()."""
        self.end(reason)

    def on_tick(self, now: float) -> None:
        """End it at time.monotonic() `now` when it is as old as a stream may become."""
        if self._clock.is_old(now):
            self.end("age")

    async def serve(self, write: Write, check: Check) -> None:
        """Write what is offered until it ends; `check` tells whether its reader still may."""
        await self._write(write, wire.farewell(RETRY_MS))
        while self.reason is None:
            await self._unless_ended(self._offered.wait())
            self._offered.clear()
            may = time.monotonic() - self._checked_at < CHECK_S or await self._may(check)
            chunk = (may and b"".join(self._chunks)) or wire.HEARTBEAT
            self._chunks.clear()
            if self.reason is None:
                await self._write(write, chunk)
        if self.reason != "client left" and not self.was_cut:
            await self._take_leave(write)

    async def _may(self, check: Check) -> bool:
        """Whether the permission was found to hold; ends it where it was found not to."""
        try:
            allowed = await self._unless_ended(check())
        except (DatabaseError, RuntimeError):  # the second: the hub closed meanwhile
            return False  # nobody can tell now: asked again before the next snapshot
        if allowed:
            self._checked_at = time.monotonic()
        elif allowed is False:
            self.end("not allowed")
        return bool(allowed)

    async def _write(self, write: Write, chunk: bytes) -> None:
        if not await self._unless_ended(_written(write, chunk), conf.get("SEND_TIMEOUT_S")):
            self.was_cut = True
            self.end("send timeout")

    async def _take_leave(self, write: Write) -> None:
        try:
            await asyncio.wait_for(write(wire.farewell(RETRY_MS), False), LAST_WRITE_S)
        except asyncio.TimeoutError:
            self.was_cut = True

    async def _unless_ended(
        self, work: Coroutine[Any, Any, Any], timeout_s: float | None = None
    ) -> Any:
        """Return what `work` gives, None when the viewer ends before or it takes too long."""
        task = asyncio.ensure_future(work)
        first: set[asyncio.Future[Any]] = {task, self._ended}
        try:
            await asyncio.wait(first, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()


async def _written(write: Write, chunk: bytes) -> bool:
    await write(chunk, True)
    return True
