"""One consumer for a listener's stream and for watching a channel."""

from __future__ import annotations

import logging
from typing import Any

from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.consumers.admission import Admission, admit
from eric_sse_django.consumers.base import EventConsumer
from eric_sse_django.hub import Hub
from eric_sse_django.streaming import Outlet, Stream

logger = logging.getLogger(__name__)


class StreamConsumer(EventConsumer):
    """Serves one stream."""

    async def admit(self, hub: Hub) -> Admission:
        return await admit(hub, self.request)

    async def serve(self, hub: Hub, admitted: Any) -> None:
        position = self.request.last_event_id()
        of = (admitted.channel, admitted.listener, position, admitted.ends_at, admitted.as_of)
        async with Stream(hub, *of) as stream:

            async def write_all(outlet: Outlet) -> None:
                encode = import_string(conf.get("CHANNEL_CLASS"))(admitted.channel).encode
                await stream.serve(outlet.write, encode)

            def clean_up() -> None:
                stream.close()
                self._log(stream)

            await self.write_out(stream, write_all, clean_up)

    def _log(self, stream: Stream) -> None:
        level = logging.WARNING if stream.reason == "send timeout" else logging.INFO
        logger.log(
            level,
            "stream closed channel=%s listener=%s sent=%d reason=%s",
            self.request.channel_id,
            self.request.listener_id,
            stream.sent,
            stream.reason,
        )
