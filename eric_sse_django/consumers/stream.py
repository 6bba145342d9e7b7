"""One consumer for listeners' streams and for watching channels."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any

from eric_sse_django.consumers.admission import Admission, admit
from eric_sse_django.consumers.base import EventConsumer
from eric_sse_django.consumers.encoder import encoder_of
from eric_sse_django.hub import End, Hub
from eric_sse_django.streaming import Response, Stream, Subscription

logger = logging.getLogger(__name__)


class StreamConsumer(EventConsumer):
    """Serves one stream."""

    async def admit(self, hub: Hub) -> Admission:
        return await admit(hub, self.request)

    def user_key(self, admitted: Any) -> str | None:
        key: str | None = admitted.user_key
        return key

    async def open(self, hub: Hub, admitted: Any) -> Stream:
        self._names = _names(admitted)
        self._encode = await encoder_of(hub, [channel for channel, _ in admitted.places])
        subscriptions = [
            Subscription(channel, listener, since)
            for (channel, listener), since in zip(admitted.places, admitted.since, strict=True)
        ]
        position = self.request.last_event_id()
        stream = Stream(
            *(hub, subscriptions, position),
            *(admitted.ends_at, admitted.as_of, admitted.subjects),
        )
        return await stream.open()

    def write(self, served: Stream, response: Response) -> Awaitable[None]:
        blank = self.request.is_event_source()
        return served.serve(response.write, self._encode, response.write_at_once, blank)

    def clean_up(self, served: Stream) -> None:
        served.close()
        reason = served.reason or End.CLOSED
        logger.log(
            reason.level,
            "stream closed channel=%s listener=%s sent=%d reason=%s",
            *self._names,
            served.sent,
            reason,
        )


def _names(admitted: Admission) -> tuple[str, str | None]:
    """Return the ids of its channels and listeners, for the log."""
    channels, listeners = zip(*admitted.places, strict=True)
    named = ",".join(listener.name if listener else "" for listener in listeners)
    return ",".join(channel.name for channel in channels), named or None
