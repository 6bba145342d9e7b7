"""The arguments that name a channel, a listener, an owner or a device, and their ids."""

from __future__ import annotations

import hashlib
import re
from enum import Enum
from typing import Any, Final
from uuid import uuid4

from django.core.exceptions import ValidationError

from eric_sse_django.entities import AbstractChannel
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import (
    IDENTIFIER_MAX_LENGTH,
    Channel,
    Listener,
    is_identifier,
    user_key,
)

# The item of a session with the id of its device: it is kept when the session's key changes.
SESSION_DEVICE = "eric_sse_device"
_PLAIN = re.compile("[^A-Za-z0-9_.:@+-]")


class ToAll(Enum):
    """The default of an argument that limits recipients. Not None: that may be a missing user."""

    TO_ALL = "all"

    def __repr__(self) -> str:
        return self.name


TO_ALL: Final = ToAll.TO_ALL


def channel_id_of(channel: Any) -> str:
    """Return the id of a channel (an object, a row, or the id). Raises TypeError for others."""
    if isinstance(channel, str):
        return channel
    if isinstance(channel, AbstractChannel):
        return channel.id
    if isinstance(channel, Channel):
        return channel.name
    raise TypeError(f"{channel!r} is not a channel: give its id, or what channel() returned.")


def listener_id_of(listener: Any) -> str:
    """Return the id of a listener (an object, a row, or the id). Raises TypeError for others."""
    if isinstance(listener, str):
        return listener
    if isinstance(listener, MessageQueueListener):
        return listener.id
    if isinstance(listener, Listener):
        return listener.name
    raise TypeError(f"{listener!r} is not a listener: give its id, or what listen() returned.")


def ids_of_listener(listener: Any) -> tuple[str, str]:
    """Return the ids of a listener's channel and of the listener. Raises TypeError for an id."""
    row = getattr(listener, "row", listener)
    if not isinstance(row, Listener):
        raise TypeError(
            f"{listener!r} is not a listener with a channel: give what listen() or "
            "add_listener() returned."
        )
    return row.channel.name, row.name


def owner_key(owner: Any) -> Any:
    """
    Return the key of a user (an object, or the key). No query.

    Raises ValueError for a user that is not saved, and TypeError for a value that is not a user.
    """
    key = user_key(owner)
    if key is None:
        raise ValueError(
            f"{owner!r} is not a saved user and owns no listeners: ask the visitor to log in; "
            "or omit the owner, and give the visitor a ticket: stream_url(…, request=request)."
        )
    return key


def narrowed(name: str, value: Any) -> Any:
    """Return a value that limits recipients. Raises ValueError for None: it would mean all."""
    if value is None:
        raise ValueError(f"{name} is None: leave it out to publish to all.")
    return value


def id_of_user(key: Any) -> str:
    """Return the id of the listener that all devices of a user share, unique for each key."""
    plain = f"user-{key}"
    try:
        is_identifier(plain)
    except ValidationError:
        return _short(f"user~{_safe(key)}", "user~~")
    return plain


def id_of_device(key: Any, device: Any) -> str:
    """
    Return the id of a device's listener, for the user with that key, or None for no user.

    `device` is a request, whose session then stores an id of the device, or any name.
    """
    name = device if isinstance(device, str) else _device_of(device)
    if not name:
        raise ValueError("device is empty: give the request, or a name for the device.")
    user = "" if key is None else _safe(key)
    return _short(f"device-{user}~~{_safe(name)}", "device~~")


def _device_of(request: Any) -> str:
    session = getattr(request, "session", None)
    if session is None:
        raise TypeError(
            f"{request!r} has no session: give a request that has passed SessionMiddleware, or a "
            "name for the device."
        )
    if SESSION_DEVICE not in session:
        session[SESSION_DEVICE] = uuid4().hex
    return str(session[SESSION_DEVICE])


def _safe(key: Any) -> str:
    """Return text of characters that an id may have, unique for each key, without "~~"."""
    return _PLAIN.sub(lambda found: "".join(f"~{b:02X}" for b in found[0].encode()), str(key))


def _short(identifier: str, prefix: str) -> str:
    if len(identifier) <= IDENTIFIER_MAX_LENGTH:
        return identifier
    return prefix + hashlib.sha256(identifier.encode()).hexdigest()
