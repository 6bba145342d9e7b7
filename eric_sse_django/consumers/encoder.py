"""What makes frames of a stream's entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import Entry
from eric_sse_django.models import Channel

Encode = Callable[[Entry], bytes]

# Shared by the streams of a channel: a row and its object take 1 KiB.
_shared: WeakValueDictionary[tuple[Any, ...], DatabaseChannel] = WeakValueDictionary()


def encoder(channels: Sequence[Channel]) -> Encode:
    """Return what makes an entry's frame; of several channels, each says its channel's id."""
    made = {channel.pk: _channel(channel) for channel in channels}
    if len(made) == 1:
        return made[channels[0].pk].encode

    def encode_named(entry: Entry) -> bytes:
        return made[entry.channel].encode(entry, named=True)

    return encode_named


def _channel(row: Channel) -> DatabaseChannel:
    kind = import_string(conf.get("CHANNEL_CLASS"))
    # All of its row: an adapt() may go by any of it.
    key = (kind, *(getattr(row, field.attname) for field in row._meta.concrete_fields))
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = kind(row)
    return found
