"""A project's own code, called where it can hang alone: rules, sessions, adapt()."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from eric_sse_django import conf
from eric_sse_django.entry import Encode, Entry
from eric_sse_django.exception import EncodingFailed
from eric_sse_django.hub.feed import Batch
from eric_sse_django.workers import NEXT, Hung, Workers

T = TypeVar("T")

# Threads, and so connections, at most while many clients come with sessions.
THREADS = 4
# Threads that may hang at once before calls are refused.
MAX_HUNG = 16
# Seconds without a call after which a thread ends, and gives its connections back.
IDLE_S = 10.0


@dataclass(frozen=True)
class Apart:
    """An `encode` of the project's own, which may hang: for the hub's hooks, not for the loop."""

    encode: Encode

    def __call__(self, entry: Entry) -> bytes:
        return self.encode(entry)


class Hooks(Workers):
    """
    Up to THREADS threads for code that is not ours, each call within HOOK_TIMEOUT_S.

    What hangs fails with Hung, and holds up nobody else: neither the reading of the log nor
    the other calls.
    """

    def __init__(self, name: str, replaced: Counter[str]) -> None:
        super().__init__(
            name,
            lambda: float(conf.get("HOOK_TIMEOUT_S")),
            replaced,
            most=THREADS,
            max_hung=MAX_HUNG,
            idle_s=IDLE_S,
        )

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Return function(*args) from one of the threads."""
        return await asyncio.wrap_future(self.submit(NEXT, function, *args))

    async def encode(self, batch: Batch, encode: Encode) -> None:
        """
        Have a batch encoded for all streams that wait for it; a failure is the batch's.

        A caller that is cancelled does not cancel it for the others.
        """
        if batch.pending is None:
            try:
                job = self.submit(NEXT, batch.chunk, encode)
            except (Hung, RuntimeError) as refused:  # the second: the hub closed meanwhile
                batch.fail(encode, refused)
                return
            batch.pending = asyncio.wrap_future(job)
            batch.pending.add_done_callback(_retrieve)
        try:
            await asyncio.shield(batch.pending)
        except EncodingFailed:
            pass  # the batch knows
        except Exception as failed:  # noqa: BLE001 - Hung; or what ends a process, as sys.exit()
            batch.fail(encode, failed)
        batch.pending = None


def _retrieve(future: asyncio.Future[bytes]) -> None:
    """Keep asyncio from logging what nobody waits for any more."""
    if not future.cancelled():
        future.exception()
