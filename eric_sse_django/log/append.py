"""Inserting messages, in the publisher's own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from eric_sse_django import conf, wire
from eric_sse_django.entry import RESERVED_PREFIX
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.log.alias import database
from eric_sse_django.message import MessageContract
from eric_sse_django.models import TYPE_MAX_LENGTH, Channel, QueuedMessage


def row(
    channel: Channel, message: MessageContract, listener: Any = None, owner: Any = None
) -> QueuedMessage:
    """
    Return the unsaved row of a message to a channel, or to one listener's or owner's key.

    The one door: raises InvalidMessageFormat for a type or payload that cannot be sent.
    """
    type = wire.check_type(message.type, TYPE_MAX_LENGTH)
    if type.startswith(RESERVED_PREFIX):
        raise InvalidMessageFormat(
            f"its type {type!r} begins with {RESERVED_PREFIX!r}, which is the app's own; "
            "take another name"
        )
    text = wire.json_text(message.payload, conf.get("MAX_MESSAGE_BYTES"))
    sender, uid = getattr(message, "sender_id", None), getattr(message, "id", None)
    return _row(channel, type, text, listener, owner, sender, uid)


def _row(
    channel: Channel,
    type: str,
    payload: str,
    listener: Any,
    owner: Any = None,
    sender: str | None = None,
    uid: str | None = None,
) -> QueuedMessage:
    kept_s = channel.retention_s or conf.get("RETENTION_S")
    now = timezone.now()
    return QueuedMessage(
        channel_id=channel.pk,
        listener_id=listener,
        owner_id=owner,
        type=type,
        payload=payload,
        sender=sender,
        uid=uid,
        created_at=now,
        expires_at=now + timedelta(seconds=kept_s),
    )


def control(channel: Channel, type: str, listener: Any) -> QueuedMessage:
    """Return the unsaved row of a message of the app's own to a listener's streams."""
    return _row(channel, type, "null", listener)


def append(rows: Sequence[QueuedMessage]) -> None:
    """
    Insert the rows, in their order, in the caller's transaction. Takes no lock.

    One INSERT for one row; several go in batches of one transaction.
    """
    if len(rows) == 1:
        rows[0].save(using=database(), force_insert=True)
    else:
        QueuedMessage.objects.using(database()).bulk_create(rows)
