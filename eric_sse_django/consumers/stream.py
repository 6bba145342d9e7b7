"""One consumer for listeners' streams and for watching channels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.consumers.admission import Admission, admit
from eric_sse_django.consumers.base import EventConsumer
from eric_sse_django.entry import Entry
from eric_sse_django.hub import Hub
from eric_sse_django.streaming import Outlet, Part, Stream

logger = logging.getLogger(__name__)


class StreamConsumer(EventConsumer):
    """Serves one stream."""

    async def admit(self, hub: Hub) -> Admission:
        return await admit(hub, self.request)

    def user_key(self, admitted: Any) -> str | None:
        key: str | None = admitted.user_key
        return key

    async def serve(self, hub: Hub, admitted: Any) -> None:
        parts = [Part(channel, listener) for channel, listener in admitted.places]
        position = self.request.last_event_id()
        of = (parts, position, admitted.ends_at, admitted.as_of, admitted.subjects)
        async with Stream(hub, *of) as stream:

            async def write_all(outlet: Outlet) -> None:
                await stream.serve(outlet.write, _encoder(admitted))

            def clean_up() -> None:
                stream.close()
                _log(stream, admitted)

            await self.write_out(stream, write_all, clean_up)


def _encoder(admitted: Admission) -> Callable[[Entry], bytes]:
    """Return what makes frames; of several channels, each says its channel's id."""
    made = import_string(conf.get("CHANNEL_CLASS"))
    channels = {channel.pk: made(channel) for channel, _ in admitted.places}
    if len(channels) == 1:
        encode: Callable[[Entry], bytes] = next(iter(channels.values())).encode
        return encode

    def encode_named(entry: Entry) -> bytes:
        frame: bytes = channels[entry.channel].encode(entry, named=True)
        return frame

    return encode_named


def _log(stream: Stream, admitted: Admission) -> None:
    level = logging.WARNING if stream.reason == "send timeout" else logging.INFO
    logger.log(
        level,
        "stream closed channel=%s listener=%s sent=%d reason=%s",
        ",".join(channel.name for channel, _ in admitted.places),
        ",".join(listener.name if listener else "" for _, listener in admitted.places) or None,
        stream.sent,
        stream.reason,
    )
