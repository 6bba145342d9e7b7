"""
The lines of an exported log: which fields they have, and what an import accepts.

A file may be damaged, or written by hand: nothing comes into the log that this app does not
write, because streams, cursors and the order of positions rely on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.models import TYPE_MAX_LENGTH, Channel, Listener
from eric_sse_django.wire import check_text

CHANNEL = ("name", "format", "access", "retention_s", "expires_in_s", "floor", "created_at")
LISTENER = (
    *("name", "running", "acknowledgement", "start", "cursor", "floor"),
    *("replays", "created_at", "last_seen"),
)
MESSAGE = (
    *("position", "type", "payload", "sender", "uid", "perishable"),
    *("created_at", "expires_at"),
)
TIMES = frozenset({"created_at", "last_seen", "expires_at", "revoked_at"})
# Columns of messages that are a text or None, and their characters at most.
TEXTS = ("sender", "uid")
MAX_CHARACTERS = 255

Line = dict[str, Any]


def head_of(line: Line) -> tuple[int, int]:
    """Return the head's `position` and `trimmed`. This and the others raise ValueError."""
    position = _position(line, "position", log.MAX_POSITION)
    return position, _position(line, "trimmed", position)


def channel_of(line: Line, head: int) -> Line:
    """Return a channel's columns."""
    fields = fields_of(line, CHANNEL)
    fields["floor"] = min(head, _position(fields, "floor", log.END))
    return _cleaned(Channel(**fields), fields)


def listener_of(line: Line, head: int) -> Line:
    """Return a listener's columns, without those of its channel and owner."""
    fields = fields_of(line, LISTENER)
    for name in ("start", "cursor", "floor"):
        # Servers that ran during the export may have served what is not in it. A cursor above
        # the head would skip what is published here.
        fields[name] = min(head, _position(fields, name, log.END))
    return _cleaned(Listener(**fields), fields, "channel", "owner")


def message_of(line: Line, after: int, head: int) -> Line:
    """Return a message's columns, without its recipients: it comes after a position."""
    fields = fields_of(line, MESSAGE)
    if _position(fields, "position", head) <= after:
        raise ValueError(f"the position {fields['position']} is not above {after}")
    check_text("type", fields["type"], TYPE_MAX_LENGTH)
    for name in TEXTS:
        if fields[name] is not None:
            check_text(name, fields[name], MAX_CHARACTERS)
    _check_payload(fields["payload"])
    if not isinstance(fields["perishable"], bool):
        raise ValueError("perishable is neither true nor false")
    return fields


def fields_of(line: Line, names: Iterable[str]) -> Line:
    """Return some fields of a line, those of times as this project stores them."""
    return {
        name: _time(line[name]) if name in TIMES and line[name] else line[name]
        for name in names
        if name in line
    }


def _position(fields: Line, name: str, most: int) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{name} is {value!r}, and not a whole number from 0 to {most}")
    return value


def _check_payload(text: Any) -> None:
    """Raise ValueError for what is not one line of JSON, and show nothing of it."""
    if not isinstance(text, str) or any(each in text for each in "\r\n\0"):
        raise ValueError("the payload is not one line of text")
    try:
        json.loads(text)
        text.encode()
    except ValueError:
        raise ValueError("the payload is not JSON") from None


def _cleaned(row: Any, fields: Line, *exclude: str) -> Line:
    row.clean_fields(exclude)
    return {name: getattr(row, name) for name in fields}


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if timezone.is_aware(at) == settings.USE_TZ:
        return at
    # The other project has another USE_TZ.
    return timezone.make_aware(at) if settings.USE_TZ else timezone.make_naive(at)
