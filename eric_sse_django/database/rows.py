"""Channels and listeners by their ids: finding and making their rows."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from eric_sse_django import log, notifier
from eric_sse_django.exception import (
    ChannelExists,
    InvalidChannelException,
    InvalidIdentifier,
    InvalidListenerException,
)
from eric_sse_django.models import IDENTIFIER_WORDS, Channel, Listener, is_identifier


def check_identifier(identifier: Any) -> str:
    """Return the id; raise InvalidIdentifier when it could not stand in a URL's path."""
    try:
        is_identifier(identifier)
    except ValidationError:
        raise InvalidIdentifier(identifier, str(IDENTIFIER_WORDS)) from None
    return str(identifier)


def check_owner(owner: Any) -> None:
    """Raise ValueError for an owner that is no saved user; None is fine."""
    if owner is not None and owner.pk is None:
        raise ValueError(
            f"{owner!r} is no saved user and can own nothing: let the visitor log in, or make "
            "a listener without an owner and give out a ticket for it."
        )


def channel_row(channel_id: str) -> Channel:
    """Return the channel's row; raises InvalidChannelException if there is none."""
    row = Channel.objects.using(log.database()).filter(name=channel_id).first()
    # The second look: MariaDB's usual collations find "orders" by "ORDERS".
    if row is None or row.name != channel_id:
        raise InvalidChannelException(channel_id)
    return row


def create_channel(channel_id: str | None, **fields: Any) -> Channel:
    """Return the row of a new channel; raises InvalidIdentifier or ChannelExists."""
    name = check_identifier(str(uuid4()) if channel_id is None else channel_id)
    using = log.database()
    try:
        # A savepoint, so that the caller's transaction survives.
        with transaction.atomic(using=using):
            return Channel.objects.using(using).create(name=name, **fields)
    except IntegrityError:
        raise ChannelExists(name) from None


def listener_row(channel: Channel, listener_id: str) -> Listener:
    """Return the listener's row; raises InvalidListenerException if there is none."""
    rows = Listener.objects.using(log.database())
    row = rows.filter(channel=channel, name=listener_id).first()
    if row is None or row.name != listener_id:
        raise InvalidListenerException(listener_id, channel.name)
    row.channel = channel
    return row


def create_listener(
    channel: Channel, listener_id: str | None = None, owner: Any = None, running: bool = False
) -> Listener:
    """
    Return the row of a listener that begins now; the one it has when there is one.

    What was published before is not its own, what is published from now on is.
    """
    name = check_identifier(str(uuid4()) if listener_id is None else listener_id)
    check_owner(owner)
    notifier.settle()
    position, _ = log.head()
    row, _ = Listener.objects.using(log.database()).get_or_create(
        channel=channel,
        name=name,
        defaults={"owner": owner, "running": running, "start": position, "cursor": position},
    )
    if row.name != name:
        raise InvalidIdentifier(name, f"It differs from {row.name!r} in case only.")
    row.channel = channel
    return row
