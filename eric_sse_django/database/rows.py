"""The rows of channels and listeners by their ids: finding and creating them."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from eric_sse_django import conf, log, notifier
from eric_sse_django.database.acknowledgement import (
    change_acknowledgement,
    check_acknowledgement,
)
from eric_sse_django.database.arguments import owner_key
from eric_sse_django.database.configured import differences
from eric_sse_django.exception import (
    ChannelExists,
    InvalidChannelException,
    InvalidIdentifier,
    InvalidListenerException,
    TooManyListeners,
)
from eric_sse_django.models import IDENTIFIER_WORDS, Channel, Listener, could_be_id
from eric_sse_django.outage import Quiet

logger = logging.getLogger(__name__)

CREATE = "check its id, name it in ERIC_SSE['CHANNELS'] and run `manage.py migrate`, or create it"
MIGRATE = "it is in ERIC_SSE['CHANNELS']: run `manage.py migrate` to create it"

_differs = Quiet()


def check_identifier(identifier: Any) -> str:
    """Return the id; raise InvalidIdentifier if it cannot stand in a URL's path."""
    if not could_be_id(identifier):
        raise InvalidIdentifier(identifier, str(IDENTIFIER_WORDS))
    return str(identifier)


def channel_row(channel_id: str) -> Channel:
    """Return the channel's row; raises InvalidChannelException if there is none."""
    if not could_be_id(channel_id):  # a NUL would be an error of the database
        raise unknown_channel(channel_id)
    row = Channel.objects.filter(name=channel_id).first()
    # Compared again: MariaDB's usual collations find "orders" by "ORDERS".
    if row is None or row.name != channel_id:
        raise unknown_channel(channel_id)
    return row


def unknown_channel(channel_id: Any) -> InvalidChannelException:
    """Return the error for an id that no channel has."""
    if isinstance(channel_id, str) and channel_id in conf.channels():
        return InvalidChannelException(channel_id, MIGRATE)
    return InvalidChannelException(channel_id, CREATE)


def create_channel(channel_id: str | None, **fields: Any) -> Channel:
    """
    Return the row of a new channel.

    Raises InvalidIdentifier, ChannelExists, or ValidationError for a bad field.
    """
    name = check_identifier(str(uuid4()) if channel_id is None else channel_id)
    row = Channel(name=name, **fields)
    row.clean_fields()
    try:
        # A savepoint, so that the caller's transaction survives.
        with transaction.atomic(using=log.database()):
            row.save(force_insert=True)
    except IntegrityError:
        _check_case(name, Channel.objects.get(name=name))
        raise ChannelExists(name) from None
    return row


def get_or_create_channel(channel_id: str, **fields: Any) -> Channel:
    """Return the row of the channel with that id; create it with `fields` if there is none."""
    with suppress(InvalidChannelException):
        return _same(channel_row(channel_id), fields)
    try:
        return create_channel(channel_id, **fields)
    except ChannelExists:  # another process was faster
        return _same(channel_row(channel_id), fields)


def _same(row: Channel, fields: dict[str, Any]) -> Channel:
    """Return the row; log where it differs from the fields that were given."""
    for name, (there, asked) in differences(row, fields).items():
        if _differs.begins(f"{row.name} {name}"):
            logger.warning(
                "the channel %r has %s=%r and was not changed to %r: change it in the admin, or "
                "pass the value that it has",
                *(row.name, name, there, asked),
            )
    return row


def _check_case(name: str, row: Channel | Listener) -> None:
    # MariaDB's usual collations treat "orders" and "ORDERS" as equal.
    if row.name != name:
        raise InvalidIdentifier(name, f"It differs from {row.name!r} in case only.")


def listener_row(channel: Channel, listener_id: str) -> Listener:
    """Return the listener's row; raises InvalidListenerException if there is none."""
    if not could_be_id(listener_id):
        raise InvalidListenerException(listener_id, channel.name)
    row = _rows(channel, listener_id).first()
    if row is None or row.name != listener_id:
        raise InvalidListenerException(listener_id, channel.name)
    row.channel = channel
    return row


def create_listener(
    channel: Channel,
    listener_id: str | None = None,
    owner: Any = None,
    running: bool = False,
    acknowledgement: str | None = None,
) -> Listener:
    """
    Return the row of a new listener that begins now, or the existing row with that id.

    A new listener gets what is committed from now on, including all messages of the caller's
    transaction. A given `acknowledgement` ("sent" or "client") also changes an existing row.
    Raises TooManyListeners, and InvalidIdentifier, also for the id of a listener that the given
    `owner` does not own.
    """
    name = check_identifier(str(uuid4()) if listener_id is None else listener_id)
    key = None if owner is None else owner_key(owner)
    check_acknowledgement(acknowledgement)
    row = None if listener_id is None else _rows(channel, name).first()
    if row is None:
        check_room(channel, name)
        acknowledged = acknowledgement or Listener.Acknowledgement.SENT.value
        options = {"running": running, "acknowledgement": acknowledged, **owned_by(owner, key)}
        row = _begin(channel, name, **options)
    _check_case(name, row)
    if key is not None and row.owner_id != key:
        raise InvalidIdentifier(name, "It is the id of a listener that this owner does not own.")
    change_acknowledgement(row, acknowledgement)
    row.channel = channel
    return row


def _rows(channel: Channel, name: str) -> QuerySet[Listener]:
    return Listener.objects.filter(channel=channel, name=name)


def _begin(channel: Channel, name: str, **options: Any) -> Listener:
    """Insert a listener at the log's head; return it, or the row of a faster process."""
    notifier.settle()
    position, _ = log.head()
    row = Listener(channel=channel, name=name, start=position, cursor=position, **options)
    try:
        # A savepoint, so that the caller's transaction survives.
        with transaction.atomic(using=log.database()):
            row.save(force_insert=True)
    except IntegrityError:
        found = _rows(channel, name).first()
        if found is None:
            raise
        return found
    return row


def owned_by(owner: Any, key: Any) -> dict[str, Any]:
    """Return the fields of the owner. One query for a key, which must be a user's."""
    if owner is None or hasattr(owner, "pk"):
        return {"owner": owner}
    if not get_user_model()._default_manager.filter(pk=key).exists():
        raise ValueError(f"There is no user with the key {owner!r}.")
    return {"owner_id": key}


def check_room(channel: Channel, name: str) -> None:
    """
    Raise TooManyListeners if the channel has no room for another listener.

    Nothing is locked: listeners that are added at the same time may exceed the limit.
    """
    most = conf.get("MAX_LISTENERS_PER_CHANNEL")
    if most is None:
        return
    listeners = Listener.objects.filter(channel=channel)
    if listeners[:most].count() >= most and not listeners.filter(name=name).exists():
        raise TooManyListeners(channel.name, listeners.count(), most)
