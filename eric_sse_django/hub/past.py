"""The log's position some time ago, looked up once for all clients that need it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from eric_sse_django.log import Log, moment_of

# Seconds for which a position is used again: it is as much older then. The lookup takes some
# 25 queries, and after a deploy all clients of a process need it.
FRESH_S = 60.0


class Past:
    """`run` calls a function on a thread of the hub. Only for the hub's loop."""

    def __init__(self, log: Log, run: Callable[..., Awaitable[Any]]) -> None:
        self._log = log
        self._run = run
        self._asked_at = 0.0
        self._back_s: float | None = None
        self._look: asyncio.Future[int] | None = None

    async def position(self, back_s: float) -> int:
        """
        Return a position after which comes all that was published in the last `back_s` seconds.

        What was published up to FRESH_S before may come after it too. Raises DatabaseError.
        """
        now = time.monotonic()
        is_stale = self._back_s != back_s or now - self._asked_at > FRESH_S
        if self._look is None or is_stale or (self._look.done() and self._has_failed()):
            self._asked_at, self._back_s = now, back_s
            self._look = asyncio.ensure_future(self._find(back_s))
            self._look.add_done_callback(_retrieve)
        # A caller that is cancelled does not cancel it for the others.
        return await asyncio.shield(self._look)

    def _has_failed(self) -> bool:
        look = self._look
        return look is not None and (look.cancelled() or look.exception() is not None)

    async def _find(self, back_s: float) -> int:
        found: int = await self._run(self._log.position_at, moment_of(time.time() - back_s))
        return found


def _retrieve(look: asyncio.Future[int]) -> None:
    """Keep asyncio from logging an exception that no caller waits for."""
    if not look.cancelled():
        look.exception()
