"""A project's own code, called where it can hang or fail alone: rules, sessions, adapt()."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eric_sse_django import conf
from eric_sse_django.cancelling import retrieve
from eric_sse_django.entry import Encode, Entry
from eric_sse_django.exception import EncodingFailed
from eric_sse_django.hub.feed import Batch
from eric_sse_django.workers import IDLE_S, NEXT, Hung, Workers

logger = logging.getLogger(__name__)

# Threads, and so connections, at most while many clients come with sessions.
THREADS = 4
# Threads that may hang at once before calls are refused.
MAX_HUNG = 16
# Messages that could not be encoded and are remembered. When exceeded, the first is forgotten,
# and logged again if it fails again.
MAX_REMEMBERED = 1_000
# Seconds before a client reconnects at most: one that is sent again and again to the same
# message costs a request each time.
MAX_RETRY_S = 60.0
# Seconds for which a message that took too long is not tried again, at least.
MIN_RETRY_S = 5.0

# A message's channel and position.
MessageKey = tuple["int | None", "int | None"]


class Hooks(Workers):
    """
    Up to THREADS threads for a project's own code, each call within HOOK_TIMEOUT_S.

    A call that hangs fails with Hung, and delays neither the reading of the log nor other calls.
    """

    def __init__(self, name: str, replaced: Counter[str]) -> None:
        super().__init__(
            name,
            lambda: float(conf.get("HOOK_TIMEOUT_S")),
            replaced,
            max_threads=THREADS,
            max_hung=MAX_HUNG,
            idle_s=IDLE_S,
        )


@dataclass(frozen=True)
class Apart:
    """An `encode` of a project's own, which may hang: for Adapters, not for the loop."""

    encode: Encode

    def __call__(self, entry: Entry) -> bytes:
        return self.encode(entry)


class Adapters(Hooks):
    """
    Threads that encode batches by a project's own code, and what could not be encoded.

    A message that fails ends its streams: it may be sent once the code is corrected. Only for
    the hub's loop.
    """

    def __init__(self, name: str, replaced: Counter[str]) -> None:
        super().__init__(name, replaced)
        self._failed_since: dict[MessageKey, float] = {}
        self._hanging: dict[MessageKey, float] = {}  # until when not to try what took too long

    async def encode(self, batches: Sequence[Batch], encode: Encode) -> None:
        """
        Encode batches for all streams that wait for them; a failure is kept in the batch.

        A caller that is cancelled does not cancel it for the others.
        """
        for batch in batches:
            if batch.is_tried(encode):
                continue
            hangs = next(filter(self.hangs, batch.entries), None) if self._hanging else None
            if hangs is not None:
                batch.fail(encode, Hung("it exceeded its deadline a short time ago"), hangs)
            else:
                await self._encode(batch, encode)

    async def _encode(self, batch: Batch, encode: Encode) -> None:
        if batch.pending is None:
            try:
                job = self.submit(NEXT, batch.chunk, encode)
            except (Hung, RuntimeError) as refused:  # the second: the hub closed meanwhile
                batch.fail(encode, refused)
                return
            batch.pending = asyncio.wrap_future(job)
            batch.pending.add_done_callback(retrieve)
        try:
            await asyncio.shield(batch.pending)
        except EncodingFailed:
            pass  # the batch knows
        except Exception as failed:  # noqa: BLE001 - Hung; or what ends a process, as sys.exit()
            batch.fail(encode, failed)
        batch.pending = None

    def hangs(self, entry: Entry) -> bool:
        """Return whether a message took too long so recently that it must not be tried again."""
        until = self._hanging.get((entry.channel, entry.position))
        return until is not None and time.monotonic() < until

    def failed(self, failed: EncodingFailed) -> float:
        """
        Log the first failure of a message; return the seconds after which to try again.

        They grow with the time for which it has failed. The text of the exception may contain
        the payload, so that it is logged at DEBUG only.
        """
        now, key = time.monotonic(), (failed.channel, failed.position)
        since, cause = self._failed_since.get(key), failed.__cause__
        rest_s = 0.0 if since is None else min(now - since, MAX_RETRY_S)
        if isinstance(cause, Hung) and now >= self._hanging.get(key, 0.0):
            # Each attempt takes a thread: many clients that reconnect must not take them all.
            self._hanging[key] = now + max(rest_s, MIN_RETRY_S)
        if since is not None:
            return rest_s
        if len(self._failed_since) >= MAX_REMEMBERED:
            oldest = next(iter(self._failed_since))
            del self._failed_since[oldest]
            self._hanging.pop(oldest, None)
        self._failed_since[key] = now
        logger.error(
            "a message has no event, its streams end channel=%s position=%s error=%s\n%s",
            *(failed.channel, failed.position, type(cause).__name__),
            "".join(traceback.format_tb(cause.__traceback__ if cause else None)),
        )
        logger.debug("what was raised", exc_info=failed)
        return 0.0
