"""What makes frames of a stream's entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import Encode, Entry
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


def encoder(channels: Sequence[Channel]) -> Encode:
    """Return what makes an entry's frame; of several channels, each says its channel's id."""
    made = tuple(_channel(channel) for channel in channels)
    if len(made) == 1:
        return made[0].encode
    named = _shared_named.get(made)
    if named is None:
        named = _shared_named[made] = _Named(made)
    return named


def _channel(row: Channel) -> DatabaseChannel:
    kind = import_string(conf.get("CHANNEL_CLASS"))
    # All of its row: an adapt() may go by any of it.
    key = (kind, *(getattr(row, field.attname) for field in row._meta.concrete_fields))
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = kind(row)
    return found
