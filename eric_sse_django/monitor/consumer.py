"""HTTP to the monitor: staff with the permission get the snapshots as a stream."""

from __future__ import annotations

import logging
from typing import Any

from eric_sse_django import authorization
from eric_sse_django.consumers import EventConsumer, Refused
from eric_sse_django.hub import Hub
from eric_sse_django.monitor.sampler import Sampler
from eric_sse_django.monitor.viewer import Viewer
from eric_sse_django.streaming import Outlet

logger = logging.getLogger(__name__)

FORBIDDEN = "The monitor is for staff with the permission view_monitor.\n"


class MonitorConsumer(EventConsumer):
    """
    Serves one monitor page.

    Who may watch is told by Django's session, and asked again every few seconds.
    """

    # It is wanted most when the process is full.
    is_limited = False

    async def admit(self, hub: Hub) -> None:
        if not await self._may(hub):
            raise Refused(403, FORBIDDEN)

    async def _may(self, hub: Hub) -> bool:
        return await hub.run(authorization.may_monitor, self.request.cookies)

    async def serve(self, hub: Hub, admitted: Any) -> None:
        viewer = Viewer()
        with Sampler.of(hub).watched_by(viewer, hub):

            async def write_all(outlet: Outlet) -> None:
                await viewer.serve(outlet.write, lambda: self._may(hub))

            def clean_up() -> None:
                hub.revocation_watchers.discard(viewer.ask_again)
                logger.info("monitor closed reason=%s", viewer.reason or "cancelled")

            hub.revocation_watchers.add(viewer.ask_again)
            await self.write_out(viewer, write_all, clean_up)
