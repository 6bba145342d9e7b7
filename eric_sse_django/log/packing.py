"""Entries and stamps as JSON values, for another process that uses the same database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from eric_sse_django.entry import Entry
from eric_sse_django.log.dialect import field_of, time_converter
from eric_sse_django.models import database


def pack_entries(entries: Sequence[Entry]) -> list[list[Any]]:
    """Return a list of JSON values for each entry."""
    return [
        [
            entry.position,
            entry.channel,
            entry.listener,
            _key(entry.owner),
            entry.type,
            entry.payload,
            entry.sender,
            entry.uid,
            pack_stamp(entry.stamp),
            entry.expires_at,
        ]
        for entry in entries
    ]


def unpack_entries(packed: Sequence[Sequence[Any]]) -> list[Entry]:
    """Return the entries of pack_entries(). Raises ValueError or TypeError for other values."""
    time_of, owner_of = time_converter(database()), field_of("owner").to_python
    entries = []
    for position, channel, listener, owner, type, payload, sender, uid, stamp, ends in packed:
        entries.append(
            Entry(
                _whole(position),
                _whole(channel),
                listener if listener is None else _whole(listener),
                owner if owner is None else owner_of(owner),
                type,
                payload,
                sender,
                uid,
                unpack_stamp(stamp),
                ends,
                time_of,
            )
        )
    return entries


def pack_stamp(stamp: Any) -> Any:
    """Return a stamp as JSON: MariaDB's are datetimes, the others' are numbers or text."""
    return [stamp.isoformat()] if isinstance(stamp, datetime) else stamp


def unpack_stamp(packed: Any) -> Any:
    """Return the stamp of pack_stamp()."""
    return datetime.fromisoformat(packed[0]) if isinstance(packed, list) else packed


def _key(owner: Any) -> Any:
    """Return a user's key, which may be of any type."""
    return owner if owner is None or isinstance(owner, (int, str)) else str(owner)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{type(value).__name__} is not a whole number")
    return value
