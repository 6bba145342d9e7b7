"""How an entry becomes a frame, its bytes on the wire: in the format of its channel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from weakref import WeakValueDictionary

from eric_sse_django import wire
from eric_sse_django.entry import Encode, Entry

# Encoders that are kept, one for each channel of streams of several channels. When exceeded, the
# least recently used one is built again, and its frames are encoded again.
MAX_ENCODERS = 10_000


@lru_cache(MAX_ENCODERS)
def channel_encoder(as_text: bool, prefix: str = "") -> Encode:
    """
    Return the function that encodes entries; the same one for the same arguments.

    `as_text` sends a string as it is, not as JSON. `prefix` is put before the event's name.
    """

    def encode(entry: Entry) -> bytes:
        if as_text:
            return wire.encode(prefix + entry.type, wire.text_of(entry.payload), entry.position)
        return wire.encode_json(prefix + entry.type, entry.payload, entry.position)

    return encode


class _Named:
    """Encodes entries of several channels, each by the encoder of its channel."""

    def __init__(self, encoders: Mapping[int, Encode]) -> None:
        self._encoders = dict(encoders)

    def __call__(self, entry: Entry) -> bytes:
        return entry.named_frame(self._encoders[entry.channel])


# Shared by streams of the same channels, so that they share the batches' bytes, too.
_named: WeakValueDictionary[tuple[tuple[int, Encode], ...], _Named] = WeakValueDictionary()


def named_encoder(encoders: Mapping[int, Encode]) -> Encode:
    """Return what encodes entries of several channels, by their keys' encoders; shared."""
    key = tuple(encoders.items())
    found = _named.get(key)
    if found is None:
        found = _named[key] = _Named(encoders)
    return found
