"""One page that watches the monitor: what is written to it, and when it ends."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from django.db import Error as DatabaseError

from eric_sse_django import conf, wire
from eric_sse_django.cancelling import within
from eric_sse_django.hub import End
from eric_sse_django.streaming.clock import LAST_WRITE_S, Clock
from eric_sse_django.streaming.sender import Write

# Snapshots kept for a slow client; when exceeded, the oldest is dropped.
MAX_KEPT_SNAPSHOTS = 5
# Seconds between two checks of the permission.
PERMISSION_CHECK_S = 20.0
# Milliseconds after which the page reconnects.
RETRY_MS = 1_000

Check = Callable[[], Coroutine[Any, Any, bool]]


class Viewer:
    """
    Holds MAX_KEPT_SNAPSHOTS at most. Created on the running loop once access is granted.

    `reason` is why it ended, None before; `was_cut` is true if its last write did not complete.
    `subjects` are the hub.keys_of() the subjects whose revocation ends it.
    """

    def __init__(self, subjects: tuple[int, ...] = ()) -> None:
        self.subjects = subjects
        self.reason: End | None = None
        self.was_cut = False
        self._ended = asyncio.get_running_loop().create_future()
        self._offered = asyncio.Event()
        self._chunks: deque[bytes] = deque(maxlen=MAX_KEPT_SNAPSHOTS)
        self._clock = Clock()
        self._checked_at = time.monotonic()

    def offer(self, chunk: bytes) -> None:
        """Queue a chunk to write. Never waits."""
        self._chunks.append(chunk)
        self._offered.set()

    def end(self, reason: End) -> None:
        """End it, also during a write that does not return; the first reason is kept."""
        if self.reason is None:
            self.reason = reason
            if not self._ended.done():
                self._ended.set_result(None)

    def abort(self, reason: End) -> None:
        """Same as end()."""
        self.end(reason)

    def on_tick(self, now: float) -> None:
        """End it if it has the maximum age of a stream at time.monotonic() `now`."""
        if self._clock.is_old(now):
            self.end(End.AGE)

    async def serve(self, write: Write, check: Check) -> None:
        """Write what is offered until it ends; `check` returns whether access is still allowed."""
        await self._write_first(write)
        while self.reason is None:
            await self._unless_ended(self._offered.wait())
            self._offered.clear()
            is_fresh = time.monotonic() - self._checked_at < PERMISSION_CHECK_S
            allowed = is_fresh or await self._is_allowed(check)
            chunk = (allowed and b"".join(self._chunks)) or wire.HEARTBEAT
            self._chunks.clear()
            if self.reason is None:
                await self._write(write, chunk)
        if self.reason is not End.CLIENT_LEFT and not self.was_cut:
            await self._write_last(write)

    async def _is_allowed(self, check: Check) -> bool:
        """Check the permission; end the viewer if access is no longer allowed."""
        try:
            allowed = await self._unless_ended(check())
        except (DatabaseError, RuntimeError):  # the second: the hub closed meanwhile
            return False  # unknown now: checked again before the next snapshot
        if allowed:
            self._checked_at = time.monotonic()
        elif allowed is False:
            self.end(End.NOT_ALLOWED)
        return bool(allowed)

    async def _write(self, write: Write, chunk: bytes) -> None:
        if not await self._unless_ended(_written(write, chunk), conf.get("SEND_TIMEOUT_S")):
            self.was_cut = True
            self.end(End.SEND_TIMEOUT)

    async def _write_first(self, write: Write) -> None:
        """Write the first chunk, with the headers: end() must not leave a client without them."""
        try:
            await within(conf.get("SEND_TIMEOUT_S"), _written(write, wire.farewell(RETRY_MS)))
        except asyncio.TimeoutError:
            self.was_cut = True
            self.end(End.SEND_TIMEOUT)

    async def _write_last(self, write: Write) -> None:
        try:
            await asyncio.wait_for(write(wire.farewell(RETRY_MS), False), LAST_WRITE_S)
        except asyncio.TimeoutError:
            self.was_cut = True

    async def _unless_ended(
        self, work: Coroutine[Any, Any, Any], timeout_s: float | None = None
    ) -> Any:
        """Return the result of `work`, None if the viewer ends first or it takes too long."""
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
