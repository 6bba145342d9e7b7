"""HTTP to the monitor: staff with the permission get the snapshots as a stream."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import ExitStack
from functools import partial
from typing import Any

from eric_sse_django import authorization
from eric_sse_django.consumers import EventConsumer, Refused
from eric_sse_django.hub import Hub
from eric_sse_django.monitor.sampler import Sampler
from eric_sse_django.monitor.viewer import Viewer
from eric_sse_django.streaming import Response

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
        return await hub.hooks.call(authorization.may_monitor, self.request.cookies)

    async def open(self, hub: Hub, admitted: Any) -> Viewer:
        viewer = Viewer()
        self._may_watch = partial(self._may, hub)
        self._opened = ExitStack()
        self._opened.enter_context(Sampler.of(hub).watched_by(viewer, hub))
        hub.revocation_watchers.add(viewer.ask_again)
        self._opened.callback(hub.revocation_watchers.discard, viewer.ask_again)
        return viewer

    def write(self, served: Viewer, response: Response) -> Awaitable[None]:
        return served.serve(response.write, self._may_watch)

    def clean_up(self, served: Viewer) -> None:
        self._opened.close()
        logger.info("monitor closed reason=%s", served.reason or "cancelled")
