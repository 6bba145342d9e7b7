"""Reading the log for streams that are behind: from a replica what that has, if there is one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from eric_sse_django.counters import Counters
from eric_sse_django.log import (
    AnotherLog,
    Found,
    Known,
    Log,
    Page,
    Recipient,
    Replica,
    is_as_known,
)
from eric_sse_django.outage import Outage
from eric_sse_django.workers import IDLE_S, Workers

logger = logging.getLogger(__name__)

# Seconds that a read of the replica may take, and at most a second more: the hub's timer looks
# for those that hang. It takes 1 to 20 ms.
REPLICA_DEADLINE_S = 2.0


class _GivenUp(Exception):
    """Another read has found that the replica fails."""


class Backlogs:
    """
    Reads pages of the log. `run` calls a function on the hub's second thread.

    A replica is read on its own thread. While it fails, one stream at a time tries it again,
    and the others do not wait. `known` returns what the hub knows of the log. Only for the hub's
    loop.
    """

    def __init__(
        self,
        log: Log,
        run: Callable[..., Awaitable[Any]],
        counters: Counters,
        known: Callable[[], Known],
    ) -> None:
        self.threads = Workers(
            "eric-sse-replica", lambda: REPLICA_DEADLINE_S, counters.replaced, idle_s=IDLE_S
        )
        self.outage = Outage(logger, "reading backlogs from the replica")
        self._log, self._run, self._known = log, run, known
        self._replica = log.replica()
        self._outcomes = counters.replica
        self._asked: set[asyncio.Future[Found | None]] = set()
        self._retry_at = 0.0
        self._proven = Known(0)

    async def read(self, recipients: Sequence[Recipient], upto: int, limit: int) -> Page:
        """
        Return a page as Log.read() does.

        Where the replica ends before `upto` the rest comes from the log itself: a stream that
        followed a replica which is always late would never be live.
        """
        found = await self._of_replica(recipients, upto, limit)
        if found is None:
            whole: Page = await self._run(self._log.read, recipients, upto, limit)
            return whole
        page, reached = found.page, found.page.reached
        if len(page) >= limit or reached < found.upto or reached >= upto:
            return page
        others = [each._replace(after=max(each.after, reached)) for each in recipients]
        rest: Page = await self._run(self._log.read, others, upto, limit - len(page))
        later_reset = max(page.later_reset, rest.later_reset)
        return Page([*page, *rest], rest.reached, later_reset)

    async def _of_replica(
        self, recipients: Sequence[Recipient], upto: int, limit: int
    ) -> Found | None:
        """Return what the replica has, None for nothing that can be used."""
        if self._replica is None or not self._may_ask():
            return None
        try:
            found = await self._ask(self._replica, recipients, upto, limit)
        except _GivenUp:
            self._outcomes["failed"] += 1
            return None
        except Exception as error:  # noqa: BLE001 - no replica is worth a stream
            self._failed(error)
            return None
        if found is not None and not (found.is_proven or await self._is_proven(found.head)):
            self._failed(AnotherLog("the replica has a message that the log does not have"))
            return None
        self.outage.over()
        self._outcomes["behind" if found is None else "read"] += 1
        return found

    def _may_ask(self) -> bool:
        if not self.outage.failures:
            return True
        return not self._asked and time.monotonic() >= self._retry_at

    async def _ask(
        self, replica: Replica, recipients: Sequence[Recipient], upto: int, limit: int
    ) -> Found | None:
        asked = asyncio.ensure_future(
            self.threads.run(replica.read, recipients, self._known(), upto, limit)
        )
        self._asked.add(asked)
        try:
            await asyncio.wait({asked})
            if asked.cancelled():
                raise _GivenUp
            return asked.result()
        finally:
            self._asked.discard(asked)
            asked.cancel()

    async def _is_proven(self, head: Known) -> bool:
        """Return whether the log has the head of a replica that is late."""
        if head != self._proven and not await self._run(is_as_known, head):
            return False
        self._proven = head
        return True

    def _failed(self, error: Exception) -> None:
        """Use no replica for a while; what waits for it reads the log itself."""
        self._outcomes["failed"] += 1
        try:
            raise error
        except Exception:  # noqa: BLE001 - it is logged with the outage
            self._retry_at = time.monotonic() + self.outage.failed()
        for asked in self._asked:
            asked.cancel()
