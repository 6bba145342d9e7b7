"""Sends the signals of listeners that join and leave: off the loop, one after another."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterable

from django.dispatch import Signal

from eric_sse_django import conf
from eric_sse_django.hub.arrivals import Change
from eric_sse_django.models import Listener
from eric_sse_django.workers import NEXT, Hung, Workers

logger = logging.getLogger(__name__)

# Signals that wait at most: receivers that are slower lose the oldest.
MOST_WAITING = 10_000
# Seconds without a signal after which the thread ends, and gives its connections back.
IDLE_S = 10.0


class Announcer(Workers):
    """
    A thread for receivers of signals, each signal within HOOK_TIMEOUT_S.

    What hangs holds up the signals behind it for that long, and nothing else.
    """

    def __init__(self, replaced: Counter[str]) -> None:
        super().__init__(
            "eric-sse-signals", lambda: float(conf.get("HOOK_TIMEOUT_S")), replaced, idle_s=IDLE_S
        )
        self._waiting: deque[Change] = deque()

    def add(self, changes: Iterable[Change]) -> bool:
        """Have them sent by run(); return whether there is something to send."""
        self._waiting.extend(changes)
        excess = len(self._waiting) - MOST_WAITING
        if excess > 0:
            logger.error("receivers of signals are too slow: %d signals are not sent", excess)
            for _ in range(excess):
                self._waiting.popleft()
        return bool(self._waiting)

    async def run(self) -> None:
        """Send what waits, until nothing does."""
        while self._waiting:
            change = self._waiting.popleft()
            try:
                await asyncio.wrap_future(self.submit(NEXT, send, *change))
            except Hung as hung:
                logger.error("a receiver hangs listener=%r: %s", change[1].name, hung)


def send(signal: Signal, listener: Listener) -> None:
    """Call the receivers; what they raise is logged."""
    for receiver, answer in signal.send_robust(Listener, listener=listener):
        if isinstance(answer, Exception):
            logger.error(
                "a receiver failed receiver=%r listener=%r",
                receiver,
                listener.name,
                exc_info=answer,
            )
