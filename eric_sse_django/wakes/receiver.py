"""Receiving wakes of other processes."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from eric_sse_django.outage import Outage
from eric_sse_django.wakes.fabric import OnMessage, Receiver, configured
from eric_sse_django.wakes.sender import is_own, known_outages

logger = logging.getLogger(__name__)

# Seconds of receiving without an error after which an outage is over.
HEALTHY_S = 5.0


class WakeReceiver:
    """
    Calls `on_message` with what other processes send, and `on_doubt` where some may be lost.

    run() is one task of a loop; want() is called on that loop.
    """

    def __init__(self, on_message: OnMessage, on_doubt: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_doubt = on_doubt
        self._outage = Outage(logger, "receiving wakes of other processes")
        self._wanted: AbstractSet[int] = frozenset()
        self._receiver: Receiver | None = None
        self._healthy: asyncio.TimerHandle | None = None

    def want(self, channels: AbstractSet[int]) -> None:
        """Receive what is for these channels from now on. Returns at once."""
        self._wanted = channels
        if self._receiver is not None:
            self._receiver.want(channels)

    async def run(self) -> None:
        """
        Receive until cancelled; return at once where nothing crosses processes.

        What fails or hangs begins again with a new receiver. Ends within a few seconds of its
        cancel, whatever the fabric does.
        """
        known_outages.add(self._outage)
        try:
            while True:
                try:
                    fabric = configured()
                    self._receiver = None if fabric is None else fabric.receiver()
                    if self._receiver is None:
                        return
                    self._receiver.want(self._wanted)
                    await self._receiver.receive(self._got, self._doubt)
                    raise ConnectionError("the fabric's receiver has ended")
                except (Exception, asyncio.CancelledError):  # the loop that owns this task
                    if _is_cancelled():
                        raise
                    pause_s = self._outage.failed()
                finally:
                    await self._end()
                # After the end: else it would count as healthy, and keep its connection.
                await asyncio.sleep(pause_s)
        finally:
            known_outages.discard(self._outage)

    async def _end(self) -> None:
        if self._healthy is not None:
            self._healthy.cancel()
            self._healthy = None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close()

    def _got(self, message: Mapping[str, Any]) -> None:
        if not is_own(message):
            self._on_message(message)

    def _doubt(self) -> None:
        if self._healthy is None:
            self._healthy = asyncio.get_running_loop().call_later(HEALTHY_S, self._outage.over)
        self._on_doubt()


def _is_cancelled() -> bool:
    """
    Return whether the running task is cancelled, not only what it waits for.

    Before Python 3.11 that is not known: an error is then an outage, a cancel is the task's.
    """
    task: Any = asyncio.current_task()
    if hasattr(task, "cancelling"):
        return bool(task.cancelling())
    return isinstance(sys.exc_info()[1], asyncio.CancelledError)
