"""The HTTP endpoint of the monitor: staff with the permission get the snapshots as a stream."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import ExitStack
from functools import partial
from typing import Any

from eric_sse_django import authorization
from eric_sse_django.authorization import Visitor
from eric_sse_django.consumers import EventConsumer, Refused
from eric_sse_django.consumers.limits import Seat
from eric_sse_django.hub import Hub, keys_of
from eric_sse_django.monitor.sampler import Sampler
from eric_sse_django.monitor.viewer import Viewer
from eric_sse_django.streaming import Response

logger = logging.getLogger(__name__)

NOT_PERMITTED = "The monitor is for staff with the permission view_monitor.\n"


class MonitorConsumer(EventConsumer):
    """
    Serves one monitor page.

    Access requires a Django session. It ends with the session, and the permission is checked
    again every PERMISSION_CHECK_S.
    """

    # The monitor is needed most when the process is full.
    is_limited = False

    async def admit(self, hub: Hub, seat: Seat) -> tuple[int, Visitor]:
        self._session_key = self.request.session_key()
        as_of, visitor = hub.follower.known.position, await self._visitor(hub)
        if visitor is None:
            raise Refused(403, NOT_PERMITTED, reason="not a staff user with view_monitor")
        return as_of, visitor

    async def _visitor(self, hub: Hub) -> Visitor | None:
        return await hub.hooks.run(authorization.monitor_visitor, self._session_key)

    async def _is_permitted(self, hub: Hub) -> bool:
        return await self._visitor(hub) is not None

    async def open(self, hub: Hub, admission: Any) -> Viewer:
        as_of, visitor = admission
        viewer = Viewer(keys_of(visitor.subjects))
        self._check = partial(self._is_permitted, hub)
        self._opened = ExitStack()
        self._opened.enter_context(Sampler.of(hub).watched_by(viewer, hub))
        self._opened.enter_context(hub.revocable(viewer, as_of))
        return viewer

    def write(self, served: Viewer, response: Response) -> Awaitable[None]:
        return served.serve(response.write, self._check)

    def clean_up(self, served: Viewer) -> None:
        self._opened.close()
        logger.info("monitor closed reason=%s", served.reason or "cancelled")
