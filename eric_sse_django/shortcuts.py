"""What a view needs: publish, listen, and the URL of a stream."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.urls import get_script_prefix

from eric_sse_django import conf
from eric_sse_django.authorization import make_ticket
from eric_sse_django.database import DatabaseChannel, DatabaseListener
from eric_sse_django.message import Message, Payload


def channel(channel_id: str, **options: Any) -> DatabaseChannel:
    """Return the channel with that id; made, with DatabaseChannel.create()'s options, if new."""
    return DatabaseChannel.get_or_create(channel_id, **options)


def publish(
    channel_id: str,
    type: str,
    payload: Payload = None,
    *,
    listener_id: str | None = None,
    owner: Any = None,
    expires_in_s: float | None = None,
) -> None:
    """
    Publish to a channel's listeners: to all, to one (`listener_id`), or to a user's (`owner`).

    After `expires_in_s` seconds it is delivered to nobody any more; None: as the channel says.
    Kept if and only if the caller's transaction commits; waits for its INSERT only.
    Raises InvalidChannelException, InvalidListenerException, InvalidMessageFormat.
    """
    target, message = DatabaseChannel.load(channel_id), Message(type, payload)
    if listener_id is not None and owner is not None:
        raise ValueError("Give listener_id or owner, not both.")
    if listener_id is not None:
        target.dispatch(listener_id, message, expires_in_s=expires_in_s)
    elif owner is not None:
        target.dispatch_to_owner(owner, message, expires_in_s=expires_in_s)
    else:
        target.broadcast(message, expires_in_s=expires_in_s)


async def apublish(
    channel_id: str,
    type: str,
    payload: Payload = None,
    *,
    listener_id: str | None = None,
    owner: Any = None,
    expires_in_s: float | None = None,
) -> None:
    """As publish(), for a coroutine."""
    to = {"listener_id": listener_id, "owner": owner}
    await sync_to_async(publish)(channel_id, type, payload, **to, expires_in_s=expires_in_s)


def listen(channel_id: str, owner: Any = None, listener_id: str | None = None) -> DatabaseListener:
    """
    Return a running listener of a channel: the one with that id, else a new one.

    Without an id, an owner has one listener a channel, "user-<key>", which all their
    devices share. Raises InvalidChannelException.
    """
    if listener_id is None and owner is not None and owner.pk is not None:
        listener_id = f"user-{owner.pk}"
    listener = DatabaseChannel.load(channel_id).add_listener(owner, listener_id)
    if not listener.is_running():
        listener.start()
    return listener


def stream_url(listener: DatabaseListener, ticket: bool = False) -> str:
    """
    Return the path of the listener's stream, for an EventSource.

    It is open to the listener's owner; with `ticket`, to whoever has the URL, for
    TICKET_MAX_AGE_S.
    """
    ids = listener.row.channel.name, listener.row.name
    url = f"{get_script_prefix()}{conf.get('URL_PREFIX')}{quote(ids[0])}/{quote(ids[1])}/"
    return f"{url}?ticket={make_ticket(*ids)}" if ticket else url


def watch_url(channel_id: str) -> str:
    """Return the path of a channel's stream without a listener, with a ticket for it."""
    url = f"{get_script_prefix()}{conf.get('URL_PREFIX')}{quote(channel_id)}/"
    return f"{url}?ticket={make_ticket(channel_id)}"
