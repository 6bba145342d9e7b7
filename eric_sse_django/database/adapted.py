"""What a project's adapt() returned, checked as what is published is."""

from __future__ import annotations

import inspect
from typing import Any

from eric_sse_django import conf, wire
from eric_sse_django.encoding import payload_text
from eric_sse_django.entry import RESERVED_PREFIX, Entry
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.models import TYPE_MAX_LENGTH


def adapted(entry: Entry, event: Any, as_text: bool) -> tuple[str, str, int | None]:
    """
    Return the event's name, data and retry (in ms) of what adapt() made of an entry.

    Raises InvalidMessageFormat for what would forge an event, or cannot be sent.
    """
    if inspect.iscoroutine(event):
        event.close()
        raise InvalidMessageFormat("its adapt() is a coroutine function, which is not awaited")
    if not isinstance(event, dict):
        event = {"event": entry.type, "data": event}
    return _name(entry, event.get("event")), _data(event, as_text), _retry(event)


def _name(entry: Entry, name: Any) -> str:
    if name is None or name == entry.type:
        return str(name or "")
    checked = wire.check_text("event", name, TYPE_MAX_LENGTH)
    if checked.startswith(RESERVED_PREFIX):
        raise InvalidMessageFormat(f"its event begins with {RESERVED_PREFIX!r}, the app's own")
    return checked


def _data(event: dict[Any, Any], as_text: bool) -> str:
    data, most = event.get("data"), conf.get("MAX_MESSAGE_BYTES")
    if not (as_text and isinstance(data, str)):
        return payload_text(data)
    if len(data) > most:
        raise InvalidMessageFormat(f"its text has {len(data)} characters, {most} are allowed")
    return data


def _retry(event: dict[Any, Any]) -> int | None:
    return wire.check_retry(event.get("retry"))
