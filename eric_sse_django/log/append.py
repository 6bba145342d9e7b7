"""Inserting messages, in the publisher's own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eric_sse_django import conf, wire
from eric_sse_django.encoding import payload_text
from eric_sse_django.entry import NO_CHANNEL, RESERVED_PREFIX
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.log.insert import Draft, insert, insert_if_unchanged
from eric_sse_django.message import MessageContract, SignedMessage, UniqueMessage
from eric_sse_django.models import TYPE_MAX_LENGTH, Channel, Listener, could_be_id, database

# Characters of a sender's id or a message's own: as the columns have.
ID_MAX_LENGTH = 255
# Seconds for which a notice is kept: for the hub of a process that stood still for long.
NOTICE_KEPT_S = 86_400
# Bytes that a notice may take, whatever the project allows its messages.
NOTICE_BYTES = 262_144


def row(
    channel: Channel,
    message: MessageContract,
    listener: Any = None,
    owner: Any = None,
    expires_in_s: float | None = None,
) -> Draft:
    """
    Return the unsaved row of a message to a channel, or to one listener's or owner's key.

    `expires_in_s` is its lifetime, where it has another than the channel's messages.
    The one door: raises InvalidMessageFormat for what cannot be sent.
    """
    try:
        type = wire.check_text("type", message.type, TYPE_MAX_LENGTH)
    except AttributeError as error:
        kind = message.__class__.__qualname__  # never its value: that may be a payload
        raise InvalidMessageFormat(
            f"it is of type {kind}, not a message; give Message(type, payload)"
        ) from error
    if type.startswith(RESERVED_PREFIX):
        raise InvalidMessageFormat(
            f"its type {type!r} begins with {RESERVED_PREFIX!r}, which is the app's own; "
            "take another name"
        )
    text = payload_text(message.payload)
    kept_s = channel.retention_s or conf.get("RETENTION_S")
    lives_s = channel.expires_in_s if expires_in_s is None else _lifetime_s(expires_in_s)
    ends = kept_s if lives_s is None else min(kept_s, lives_s)
    perishable = lives_s is not None and lives_s <= kept_s
    return _row(channel.pk, ends, perishable, type, text, listener, owner, *_identity(message))


def _lifetime_s(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InvalidMessageFormat(
            f"its expires_in_s is {value!r}; give a number of seconds over 0, or None"
        )
    return value


def _identity(message: MessageContract) -> tuple[str | None, str | None]:
    """Return the sender's id and the message's own, None for what it does not have."""
    sender = uid = None
    if isinstance(message, (SignedMessage, UniqueMessage)) and message.sender_id is not None:
        sender = wire.check_text("sender_id", message.sender_id, ID_MAX_LENGTH)
    if isinstance(message, UniqueMessage):
        uid = wire.check_text("id", message.id, ID_MAX_LENGTH)
    return sender, uid


def control(listener: Listener, type: str, payload: str = "null", uid: str | None = None) -> Draft:
    """Return the unsaved row of a message of the app's own to a listener's streams."""
    kept_s = conf.get("RETENTION_S")
    return _row(listener.channel_id, kept_s, False, type, payload, listener.pk, uid=uid)


def notice(type: str, payload: Any) -> Draft:
    """Return the unsaved row of a message of the app's own to all hubs."""
    text = wire.json_text(payload, NOTICE_BYTES)
    return _row(NO_CHANNEL, NOTICE_KEPT_S, False, type, text)


def _row(
    channel: int,
    kept_s: float,
    perishable: bool,
    type: str,
    payload: str,
    listener: Any = None,
    owner: Any = None,
    sender: str | None = None,
    uid: str | None = None,
) -> Draft:
    return Draft(channel, kept_s, perishable, type, payload, listener, owner, sender, uid)


def append(rows: Sequence[Draft]) -> None:
    """
    Insert the rows, in their order, in the caller's transaction. Takes no lock.

    One INSERT for one row; several go in one transaction: all of them or none.
    """
    insert(database(), rows)


def append_to(channel: Channel, draft: Draft, listener: str | None = None) -> bool:
    """
    Insert a row, to the listener with that id if one is given, in the caller's transaction.

    One statement, which takes no lock. Inserts nothing and returns False when there is no such
    listener, or when the channel is no longer as `channel` was read.
    """
    if listener is not None and not could_be_id(listener):  # a NUL would be a database's error
        return False
    return insert_if_unchanged(database(), draft, channel, listener)
