"""
Segments in wakes: packed and signed, so that a process takes only its own site's.

What they carry is a copy: what is refused, lost or late is read from the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.signing import BadSignature, TimestampSigner

from eric_sse_django import conf
from eric_sse_django.log import (
    Known,
    Segment,
    log_dialect,
    pack_entries,
    pack_stamp,
    unpack_entries,
    unpack_stamp,
)
from eric_sse_django.wakes import Parcel

VERSION = 1
# Seconds for which a packed segment is valid: longer than a fabric delays one, and too short for
# a database that is restored meanwhile.
MAX_AGE_S = 30
# Bytes of one parcel at most, unless one segment alone takes more: it has SEGMENT_BYTES of
# payloads, in which JSON escapes the quotes.
PARCEL_BYTES = 32_768
# What WAKES_CARRY may be.
CHANNELS, MESSAGES, NOTHING = conf.CARRIED


class Refused(Exception):
    """What a wake carries is not from this site's processes, or not of the last MAX_AGE_S."""


def pack(segments: Sequence[Segment]) -> list[Parcel]:
    """Return the parcels of segments: what WAKES_CARRY has of each, signed."""
    carry = conf.get("WAKES_CARRY")
    if carry == NOTHING:
        return [Parcel(None, {})]
    parcels: list[Parcel] = []
    texts: list[str] = []
    for segment in segments:
        text = _text(segment, carry == MESSAGES)
        if texts and sum(map(len, texts)) + len(text) > PARCEL_BYTES:
            parcels.append(_parcel(texts))
            texts = []
        texts.append(text)
    return [*parcels, _parcel(texts)]


def unpack(message: Mapping[str, Any]) -> list[Segment]:
    """
    Return the segments of a wake, in order: none where it is plain, or of another version.

    Raises Refused for what this site's processes have not sent in the last MAX_AGE_S.
    """
    if message.get("v") != VERSION or "segments" not in message:
        return []
    try:
        text = _signer().unsign(message["segments"], max_age=MAX_AGE_S)
        return [_segment(*values) for values in json.loads(text)]
    except BadSignature as error:
        raise Refused(f"a wake was refused ({error})") from error
    except Exception as error:  # JSON that is too deep, a key that is none
        raise Refused(f"a wake has another form: {type(error).__name__}") from error


def _parcel(texts: Sequence[str]) -> Parcel:
    signed = _signer().sign(f"[{','.join(texts)}]")
    return Parcel(None, {"v": VERSION, "segments": signed})


def _signer() -> TimestampSigner:
    """
    Return what signs for the log of this database: another one's segments are refused.

    Where the database is belongs to it, because `Known.log` may be the same in a copy.
    """
    return TimestampSigner(salt=f"eric_sse_django.segments {json.dumps(log_dialect().place())}")


def _text(segment: Segment, with_entries: bool) -> str:
    before, known, channels, entries = segment
    rows = pack_entries(entries) if with_entries and entries is not None else None
    return json.dumps(
        [
            [before.position, pack_stamp(before.stamp), before.trimmed, before.log],
            [known.position, pack_stamp(known.stamp)],
            sorted(channels),
            rows,
        ],
        separators=(",", ":"),
    )


def _segment(before: Any, known: Any, channels: Any, rows: Any) -> Segment:
    position, stamp, trimmed, log = before
    first = Known(position, unpack_stamp(stamp), trimmed, log)
    position, stamp = known
    last = first._replace(position=position, stamp=unpack_stamp(stamp))
    entries = None if rows is None else unpack_entries(rows)
    return Segment(first, last, frozenset(channels), entries)
