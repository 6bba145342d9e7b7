"""What a view needs: publish, listen, and the URL of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async

from eric_sse_django import address, conf, log
from eric_sse_django.authorization import bound_to, make_ticket
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


def listen(
    channel_id: str,
    owner: Any = None,
    listener_id: str | None = None,
    *,
    acknowledgement: str | None = None,
) -> DatabaseListener:
    """
    Return a running listener of a channel: the one with that id, else a new one.

    Without an id, an owner has one listener a channel, "user-<key>", which all their
    devices share. `acknowledgement` is as in DatabaseChannel.add_listener(). Raises
    InvalidChannelException, and TooManyListeners for a new one that is too many.
    """
    if listener_id is None and owner is not None and owner.pk is not None:
        listener_id = f"user-{owner.pk}"
    found = DatabaseChannel.load(channel_id)
    listener = found.add_listener(owner, listener_id, acknowledgement=acknowledgement)
    if not listener.is_running():
        listener.start()
    return listener


def cursor() -> int:
    """
    Return the log's head: from where a page should listen that is rendered now. One query.

    Read it BEFORE what the page shows is queried. What is published from then on comes on a
    stream that is opened with it (`last_event_id`): nothing falls between rendering and
    connecting. A message that the page shows already may come too, with its state.
    """
    position, _ = log.head()
    return position


async def acursor() -> int:
    """As cursor(), for a coroutine."""
    return await sync_to_async(cursor)()


def stream_url(
    listener: DatabaseListener,
    ticket: bool = False,
    *,
    request: Any = None,
    cursor: int | str | None = None,
) -> str:
    """
    Return the path of the listener's stream, for an EventSource.

    It is open to the listener's owner; with `ticket`, to whoever has the URL, for
    TICKET_MAX_AGE_S. With a `request` the ticket is bound to its user and session: it counts
    no more when they log out. Give a `cursor` only if the page shows what the messages before
    it say: the stream skips them.
    """
    ids = listener.row.channel.name, listener.row.name
    tickets = [make_ticket(*ids, **bound_to(request))] if ticket or request is not None else []
    return address.with_query(address.of(*ids), tickets, cursor)


def watch_url(channel_id: str, *, request: Any = None, cursor: int | str | None = None) -> str:
    """
    Return the path of a channel's stream without a listener, with a ticket for it.

    Bound to the user and session of a `request`, and from a `cursor` on, where they are given.
    """
    tickets = [make_ticket(channel_id, **bound_to(request))]
    return address.with_query(address.of(channel_id), tickets, cursor)


def streams_url(
    pairs: Sequence[tuple[str, DatabaseListener | str | None]],
    request: Any = None,
    *,
    cursor: int | str | None = None,
) -> str:
    """
    Return the path of one stream of several channels, with a ticket for each.

    A pair is a channel's id, and its listener (or the listener's id), None to watch. As
    watch_url() else. Raises ValueError for no channel, one named twice, or more than
    MAX_CHANNELS_PER_STREAM.
    """
    most, channels = conf.get("MAX_CHANNELS_PER_STREAM"), [channel for channel, _ in pairs]
    if not 1 <= len(set(channels)) == len(channels) <= most:
        raise ValueError(f"One stream serves 1 to {most} channels, each once, not {channels!r}.")
    ids = [
        (channel, listener.id if isinstance(listener, DatabaseListener) else listener)
        for channel, listener in pairs
    ]
    tickets = [make_ticket(*each, **bound_to(request)) for each in ids]
    named = [("channel", channel) for channel in channels]
    if any(listener is not None for _, listener in ids):
        named += [("listener", listener or "") for _, listener in ids]
    return address.with_query(address.root(), tickets, cursor, named)
