"""Messages made of entries, and the events that a channel's adapt() makes of messages."""

from __future__ import annotations

import inspect
import json
from typing import Any

from eric_sse_django import conf, wire
from eric_sse_django.entry import RESERVED_PREFIX, Entry
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.log import payload_text
from eric_sse_django.message import Message, MessageContract, SignedMessage, UniqueMessage
from eric_sse_django.models import TYPE_MAX_LENGTH


def message_of(entry: Entry) -> MessageContract:
    """Return the message as it was published: signed and unique if it was."""
    payload = json.loads(entry.payload)
    if entry.uid is not None:
        return UniqueMessage(Message(entry.type, payload), entry.sender, entry.uid)
    if entry.sender is not None:
        return SignedMessage(entry.sender, entry.type, payload)
    return Message(entry.type, payload)


def event_of(entry: Entry, adapted: Any, as_text: bool) -> tuple[str, str, int | None]:
    """
    Return the event's name, data and retry (in ms), from what adapt() returned for an entry.

    Checked as a message that is published. Raises InvalidMessageFormat for what would forge an
    event, or cannot be sent.
    """
    if inspect.iscoroutine(adapted):
        adapted.close()
        raise InvalidMessageFormat("its adapt() is a coroutine function, which is not awaited")
    if not isinstance(adapted, dict):
        adapted = {"event": entry.type, "data": adapted}
    retry_ms = wire.check_retry(adapted.get("retry"))
    return _name(entry, adapted.get("event")), _data(adapted.get("data"), as_text), retry_ms


def _name(entry: Entry, name: Any) -> str:
    if name is None or name == entry.type:
        return str(name or "")
    checked = wire.check_text("event", name, TYPE_MAX_LENGTH)
    if checked.startswith(RESERVED_PREFIX):
        raise InvalidMessageFormat(
            f"its event begins with {RESERVED_PREFIX!r}, which is reserved for this app"
        )
    return checked


def _data(data: Any, as_text: bool) -> str:
    most = conf.get("MAX_MESSAGE_BYTES")
    if not (as_text and isinstance(data, str)):
        return payload_text(data)
    if len(data) > most:
        raise InvalidMessageFormat(f"its text has {len(data)} characters, {most} are allowed")
    return data
