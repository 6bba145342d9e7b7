"""What makes frames of a stream's entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import Encode, Entry
from eric_sse_django.hub import Apart, Hub
from eric_sse_django.models import Channel

# Shared by the streams of a channel: a row and its object take 1 KiB. So are frames, by
# streams that have the same of these: after a change of the row, not with those of before.
_shared: WeakValueDictionary[tuple[Any, ...], DatabaseChannel] = WeakValueDictionary()
_shared_named: WeakValueDictionary[tuple[Any, ...], _Named] = WeakValueDictionary()


class _Named:
    """Makes frames that name their channels, of several."""

    def __init__(self, channels: Sequence[DatabaseChannel]) -> None:
        self._encode: dict[int, Encode] = {made.row.pk: made.encode_named for made in channels}

    def __call__(self, entry: Entry) -> bytes:
        return entry.named_frame(self._encode[entry.channel])


async def encoder_of(hub: Hub, channels: Sequence[Channel]) -> Encode:
    """As encoder(), but that a project's class is imported and made where it may hang alone."""
    if conf.get("CHANNEL_CLASS") == conf.DEFAULTS["CHANNEL_CLASS"]:
        return encoder(channels)
    return await hub.adapters.call(encoder, channels)


def encoder(channels: Sequence[Channel]) -> Encode:
    """
    Return what makes an entry's frame; of several channels, each says its channel's id.

    It is Apart where a project's class decides what is sent.
    """
    kind = import_string(conf.get("CHANNEL_CLASS"))
    made = tuple(_channel(kind, channel) for channel in channels)
    encode = made[0].encode if len(made) == 1 else _named(made)
    ours = (kind.adapt, kind.encode) == (DatabaseChannel.adapt, DatabaseChannel.encode)
    return encode if ours else Apart(encode)


def _named(made: tuple[DatabaseChannel, ...]) -> _Named:
    named = _shared_named.get(made)
    if named is None:
        named = _shared_named[made] = _Named(made)
    return named


def _channel(kind: Any, row: Channel) -> DatabaseChannel:
    # All of its row: an adapt() may go by any of it.
    key = (kind, *(getattr(row, field.attname) for field in row._meta.concrete_fields))
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = kind(row)
    return found
