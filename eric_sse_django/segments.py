"""
Packing segments for wakes, signed: a process takes only those that its own site has sent.

They are copies: what is refused, lost or late is read from the log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.db import connections

from eric_sse_django import conf
from eric_sse_django.entry import Entry
from eric_sse_django.log import (
    ChannelSegment,
    Known,
    Segment,
    database,
    dialect_of,
    pack_entries,
    pack_stamp,
    unpack_entries,
    unpack_stamp,
)
from eric_sse_django.wakes import MALFORMED, Parcel

VERSION = 1
# Seconds for which a packed segment is valid: longer than a fabric delays one, and too short for
# a database that is restored meanwhile.
MAX_AGE_S = 30
# Bytes of one parcel at most, unless one segment alone takes more: it has SEGMENT_BYTES of
# payloads, in which JSON escapes the quotes.
PARCEL_BYTES = 32_768
# Characters of a segment with its messages at most. Longer, it is sent without them: types and ids
# of 255 characters, each of which JSON escapes, take more than a fabric carries. In the parcel's
# own JSON it may be twice as long, and 256 KiB is what receivers take.
SEGMENT_TEXT = 130_000
# What WAKES_CARRY may be.
CHANNELS, MESSAGES, NOTHING = conf.CARRIED


class WakeRefused(Exception):
    """No process of this site has sent what a wake carries, or it is older than MAX_AGE_S."""


def pack(segments: Sequence[Segment]) -> list[Parcel]:
    """
    Return the parcels of segments, signed: of each what WAKES_CARRY allows.

    A segment with `afters` is packed for each of its channels. If one cannot be packed, a plain
    wake replaces all of them.
    """
    carry = conf.get("WAKES_CARRY")
    shares: dict[int | None, list[str]] = {}
    for segment in segments:
        parts = _parts(segment)
        if carry == NOTHING or not parts:
            return [Parcel(None, {})]
        for channel, part in parts:
            text = _text(part, carry == MESSAGES)
            if len(text) > SEGMENT_TEXT:
                text = _text(part, with_entries=False)
            shares.setdefault(channel, []).append(text)
    return [
        Parcel(channel, {"v": VERSION, "segments": _signer().sign(f"[{','.join(some)}]")})
        for channel, texts in shares.items()
        for some in _fitting(texts)
    ]


def unpack(message: Mapping[str, Any]) -> list[Segment | ChannelSegment]:
    """
    Return the segments of a wake, in order: none if it is plain, or of another version.

    Raises WakeRefused unless a process of this site has sent it in the last MAX_AGE_S.
    """
    if message is MALFORMED:
        raise WakeRefused("a wake has another form")
    if message.get("v") != VERSION or "segments" not in message:
        return []
    try:
        text = _signer().unsign(message["segments"], max_age=MAX_AGE_S)
        return [_KINDS[kind](*values) for kind, *values in json.loads(text)]
    except SignatureExpired as error:
        raise WakeRefused(f"a wake was refused ({error})") from error
    except BadSignature:
        # Not its text, which has a part of the message: of any length, with any characters.
        raise WakeRefused("a wake was refused (its signature is another one)") from None
    except Exception as error:  # JSON that is too deep, a key that is none
        raise WakeRefused(f"a wake has another form: {type(error).__name__}") from error


def _signer() -> TimestampSigner:
    """
    Return the signer of this log's segments: those of another database are refused.

    The salt contains the database's address, because a copy may have the same `Known.log`.
    """
    using = database()
    settings = connections.settings[using]
    return TimestampSigner(salt=_salt(using, settings["HOST"], settings["PORT"], settings["NAME"]))


@lru_cache
def _salt(using: str, *_: Any) -> str:
    # Kept: on a loop each callback would make a connection object for it, in 100 µs.
    return f"eric_sse_django.segments {json.dumps(dialect_of(connections[using]).place())}"


def _parts(segment: Segment) -> list[tuple[int | None, Segment | ChannelSegment]]:
    """Return what to send, with the channel whose readers need it."""
    if segment.afters is None:
        return [(None, segment)]
    return [(part.channel, part) for part in segment.by_channel()]


def _fitting(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in groups of PARCEL_BYTES at most, one text at least."""
    some: list[str] = []
    size = 0
    for text in texts:
        if some and size + len(text) > PARCEL_BYTES:
            yield some
            some, size = [], 0
        some.append(text)
        size += len(text)
    yield some


# As JSON ----------------------------------------------------------------------------


def _text(segment: Segment | ChannelSegment, with_entries: bool) -> str:
    rows: list[Any] | None = None
    packed: list[Any]
    if with_entries and segment.entries is not None:
        rows = pack_entries(segment.entries)
    if isinstance(segment, Segment):
        before, known, channels = segment[:3]
        packed = [_ALL, _pack_known(before), _pack_known(known), sorted(channels), rows]
    else:
        channel, after, notices, known = segment[:4]
        packed = [_ONE, channel, after, notices, _pack_known(known), rows]
    return json.dumps(packed, separators=(",", ":"))


def _pack_known(known: Known) -> list[Any]:
    return [known.position, pack_stamp(known.stamp), known.trimmed, known.log]


def _known(packed: Any) -> Known:
    position, stamp, trimmed, log = packed
    return Known(position, unpack_stamp(stamp), trimmed, log)


def _segment(before: Any, known: Any, channels: Any, rows: Any) -> Segment:
    return Segment(_known(before), _known(known), frozenset(channels), _entries(rows))


def _channel_segment(
    channel: Any, after: Any, notices: Any, known: Any, rows: Any
) -> ChannelSegment:
    return ChannelSegment(channel, after, notices, _known(known), _entries(rows))


def _entries(rows: Any) -> list[Entry] | None:
    return None if rows is None else unpack_entries(rows)


# Of the whole log, and of one channel.
_ALL, _ONE = "all", "one"
_KINDS: dict[str, Callable[..., Segment | ChannelSegment]] = {
    _ALL: _segment,
    _ONE: _channel_segment,
}
