"""The consumer of streams, of listeners and of watchers, and what encodes their events."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from operator import attrgetter
from typing import Any
from weakref import WeakValueDictionary

from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.consumers.admission import Admission, admit
from eric_sse_django.consumers.base import EventConsumer
from eric_sse_django.consumers.limits import Seat
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import Encode
from eric_sse_django.hub import Apart, End, Hub
from eric_sse_django.models import Channel
from eric_sse_django.streaming import Response, Stream, Subscription
from eric_sse_django.wire import channel_encoder, named_encoder

logger = logging.getLogger(__name__)

TEXT = str(Channel.Format.TEXT)
# Objects of a project's channel class, shared by the streams of a channel: a row and its object
# take 1 KiB. Streams with the same object share frames too; after a change of the row there is
# a new object, with new frames.
_shared: WeakValueDictionary[tuple[Any, ...], DatabaseChannel] = WeakValueDictionary()
# All columns of a channel's row: a project's adapt() may depend on any of them.
_columns = attrgetter(*(field.attname for field in Channel._meta.concrete_fields))


class StreamConsumer(EventConsumer):
    """Serves one stream."""

    def admit(self, hub: Hub, seat: Seat) -> Awaitable[Admission]:
        return admit(hub, self.request, seat)

    async def open(self, hub: Hub, admission: Admission) -> Stream:
        channels, subscriptions, names, listeners = [], [], [], []
        for (channel, listener), since in zip(admission.targets, admission.since, strict=True):
            channels.append(channel)
            subscriptions.append(Subscription(channel, listener, since))
            names.append(channel.name)
            listeners.append(listener.name if listener else "")
        self._names = ",".join(names), ",".join(listeners) or None
        self._blank = self.request.is_event_source()
        if conf.get("CHANNEL_CLASS") == conf.DEFAULTS["CHANNEL_CLASS"]:
            self._encode = encoder(channels)
        else:  # a project's class is imported and built on a thread where it may hang
            self._encode = await hub.adapters.run(encoder, channels)
        return await Stream(
            hub,
            subscriptions,
            admission.last_event_id,
            admission.ends_at,
            admission.as_of,
            admission.subjects,
        ).open()

    def write(self, served: Stream, response: Response) -> Awaitable[None]:
        return served.serve(response.write, self._encode, response.at_once, self._blank)

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


# Encoding -------------------------------------------------------------------------------


def encoder(channels: Sequence[Channel]) -> Encode:
    """
    Return the function that encodes an entry's frame; for several channels, with their ids.

    It is Apart if a project's class decides what is sent.
    """
    kind = import_string(conf.get("CHANNEL_CLASS"))
    encoders: dict[int, Encode] = {}
    is_named = len(channels) > 1
    for row in channels:
        if kind is DatabaseChannel:
            prefix = f"{row.name}/" if is_named else ""
            encoders[row.pk] = channel_encoder(row.format == TEXT, prefix)
        else:
            made = _shared_channel(kind, row)
            encoders[row.pk] = made.encode_named if is_named else made.encode
    encode = named_encoder(encoders) if is_named else encoders[channels[0].pk]
    is_default = (kind.adapt, kind.encode) == (DatabaseChannel.adapt, DatabaseChannel.encode)
    return encode if is_default else Apart(encode)


def _shared_channel(kind: Any, row: Channel) -> DatabaseChannel:
    key = (kind, *_columns(row))
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = kind(row)
    return found
