"""A project's own code, called where it can hang alone: rules, sessions, adapt()."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from eric_sse_django import conf
from eric_sse_django.workers import NEXT, Workers

T = TypeVar("T")

# Threads, and so connections, at most while many clients come with sessions.
THREADS = 4
# Threads that may hang at once before calls are refused.
MAX_HUNG = 16
# Seconds without a call after which a thread ends, and gives its connections back.
IDLE_S = 10.0


class Hooks(Workers):
    """
    Up to THREADS threads for code that is not ours, each call within HOOK_TIMEOUT_S.

    What hangs fails with Hung, and holds up nobody else: neither the reading of the log nor
    the other calls.
    """

    def __init__(self, replaced: Counter[str]) -> None:
        super().__init__(
            "eric-sse-hooks",
            lambda: float(conf.get("HOOK_TIMEOUT_S")),
            replaced,
            most=THREADS,
            max_hung=MAX_HUNG,
            idle_s=IDLE_S,
        )

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Return function(*args) from one of the threads."""
        return await asyncio.wrap_future(self.submit(NEXT, function, *args))
