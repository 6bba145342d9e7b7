"""
What a view needs: publish, listen, and the URL of a stream.

A channel is given by its id or as channel() returns it, a listener as listen() returns it or
(where its channel is known) by its id, an owner as a user or by the user's key. What queries
the database has a twin for coroutines, with the prefix `a`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async

from eric_sse_django import conf, log, stream_urls
from eric_sse_django.authorization import bound_to, make_ticket
from eric_sse_django.database import DatabaseChannel, DatabaseListener, online
from eric_sse_django.database import publisher as durable
from eric_sse_django.database.arguments import (
    TO_ALL,
    channel_id_of,
    id_of_device,
    id_of_user,
    ids_of_listener,
    listener_id_of,
    owner_key,
)
from eric_sse_django.database.known import known_channel
from eric_sse_django.database.operations import seen
from eric_sse_django.database.twins import has_twin
from eric_sse_django.message import Message, Payload


@has_twin
def channel(channel_id: str, **options: Any) -> DatabaseChannel:
    """Return the channel with that id; made, with DatabaseChannel.create()'s options, if new."""
    return DatabaseChannel.get_or_create(channel_id, **options)


async def achannel(channel_id: str, **options: Any) -> DatabaseChannel:
    """As channel(), for a coroutine."""
    return await sync_to_async(channel)(channel_id, **options)


@has_twin
def publish(
    channel_id: Any,
    type: str,
    payload: Payload = None,
    *,
    listener_id: Any = TO_ALL,
    owner: Any = TO_ALL,
    expires_in_s: float | None = None,
) -> None:
    """
    Publish to a channel's listeners: to all, to one (`listener_id`), or to a user's (`owner`).

    After `expires_in_s` seconds it is delivered to nobody any more; None: as the channel says.
    Kept if and only if the caller's transaction commits; waits for its INSERT only, one
    statement (two for the first to a channel, and after the channel was changed).

    Raises InvalidChannelException, InvalidListenerException, InvalidMessageFormat; ValueError
    for a `listener_id` or `owner` of None, and for an owner that is not saved; TypeError.
    """
    durable.publish(
        known_channel(channel_id_of(channel_id)),
        Message(type, payload),
        listener_id=listener_id,
        owner=owner,
        expires_in_s=expires_in_s,
    )


async def apublish(
    channel_id: Any,
    type: str,
    payload: Payload = None,
    *,
    listener_id: Any = TO_ALL,
    owner: Any = TO_ALL,
    expires_in_s: float | None = None,
) -> None:
    """As publish(), for a coroutine."""
    to = {"listener_id": listener_id, "owner": owner}
    await sync_to_async(publish)(channel_id, type, payload, **to, expires_in_s=expires_in_s)


@has_twin
def listen(
    channel_id: Any,
    owner: Any = None,
    listener_id: str | None = None,
    *,
    device: Any = None,
    acknowledgement: str | None = None,
) -> DatabaseListener:
    """
    Return a running listener of a channel: the one with that id, else a new one.

    Without an id, an owner has one listener a channel, which all their devices share: what one
    of them gets, another that is away does not get any more. With a `device` (the request, or a
    name of yours) each has its own. With none of the three, each call makes a listener.
    `acknowledgement` is as in DatabaseChannel.add_listener().

    Raises InvalidChannelException, and TooManyListeners for a new one that is too many.
    """
    if device is not None and listener_id is not None:
        raise ValueError("Give listener_id or device, not both.")
    key = None if owner is None else owner_key(owner)
    if device is not None:
        listener_id = id_of_device(key, device)
    elif listener_id is None and key is not None:
        listener_id = id_of_user(key)
    found = DatabaseChannel.load(channel_id_of(channel_id))
    listener = found.add_listener(owner, listener_id, acknowledgement=acknowledgement)
    if not listener.is_running():
        listener.start()
    seen(listener.row)
    return listener


async def alisten(
    channel_id: Any,
    owner: Any = None,
    listener_id: str | None = None,
    *,
    device: Any = None,
    acknowledgement: str | None = None,
) -> DatabaseListener:
    """As listen(), for a coroutine."""
    options = {"device": device, "acknowledgement": acknowledgement}
    return await sync_to_async(listen)(channel_id, owner, listener_id, **options)


@has_twin
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


@has_twin
def stream_url(
    listener: Any,
    ticket: bool = False,
    *,
    request: Any = None,
    cursor: int | str | None = None,
) -> str:
    """
    Return the path of the listener's stream, for an EventSource.

    It is open to the listener's owner; with `ticket`, to whoever has the URL, for
    TICKET_MAX_AGE_S. With a `request` the ticket is bound to its user and session: it is good
    as long as those are, and void when they log out. Give a `cursor` only if the page shows
    what the messages before it say: the stream skips them. Raises TypeError for what is not a
    listener.
    """
    ids = ids_of_listener(listener)
    if not ticket and request is None:
        return stream_urls.with_query(stream_urls.path_of(*ids), cursor=cursor)
    row = getattr(listener, "row", listener)
    tickets = [make_ticket(ids[0], row, **bound_to(request))]
    return stream_urls.with_query(stream_urls.path_of(*ids), tickets, cursor)


async def astream_url(
    listener: Any,
    ticket: bool = False,
    *,
    request: Any = None,
    cursor: int | str | None = None,
) -> str:
    """As stream_url(), for a coroutine: a request's user and session may be read only now."""
    return await sync_to_async(stream_url)(listener, ticket, request=request, cursor=cursor)


@has_twin
def watch_url(channel_id: Any, *, request: Any = None, cursor: int | str | None = None) -> str:
    """
    Return the path of a channel's stream without a listener, with a ticket for it.

    Bound to the user and session of a `request`, and from a `cursor` on, where they are given.
    A client may go back with it to the cursor, or to now, however long it sleeps meanwhile. Two
    queries at most.
    """
    name = channel_id_of(channel_id)
    tickets = [make_ticket(name, since=_since(cursor), **bound_to(request))]
    return stream_urls.with_query(stream_urls.path_of(name), tickets, cursor)


def _since(cursor: int | str | None) -> int | None:
    """Return the position that a cursor is; None for what is none, which the URL refuses."""
    return int(str(cursor)) if str(cursor).isdecimal() else None


async def awatch_url(
    channel_id: Any, *, request: Any = None, cursor: int | str | None = None
) -> str:
    """As watch_url(), for a coroutine."""
    return await sync_to_async(watch_url)(channel_id, request=request, cursor=cursor)


@has_twin
def streams_url(
    pairs: Sequence[tuple[Any, Any]],
    request: Any = None,
    *,
    cursor: int | str | None = None,
) -> str:
    """
    Return the path of one stream of several channels, with a ticket for each.

    A pair is a channel and its listener, or None to watch. Else as watch_url(). Raises
    ValueError for no channel, one named twice, or more than MAX_CHANNELS_PER_STREAM; TypeError.
    """
    ids = [
        (channel_id_of(channel), None if listener is None else listener_id_of(listener))
        for channel, listener in map(_pair, pairs)
    ]
    most, channels = conf.get("MAX_CHANNELS_PER_STREAM"), [channel for channel, _ in ids]
    if not 1 <= len(set(channels)) == len(channels) <= most:
        raise ValueError(f"One stream serves 1 to {most} channels, each once, not {channels!r}.")
    tickets = [
        make_ticket(
            name, getattr(listener, "row", listener), since=_since(cursor), **bound_to(request)
        )
        for name, (_, listener) in zip(channels, pairs, strict=True)
    ]
    named = [("channel", channel) for channel in channels]
    if any(listener is not None for _, listener in ids):
        named += [("listener", listener or "") for _, listener in ids]
    return stream_urls.with_query(stream_urls.root(), tickets, cursor, named)


def _pair(given: Any) -> Any:
    if isinstance(given, (tuple, list)) and len(given) == 2:
        return given
    raise TypeError(
        f"{given!r} is not a pair: give (channel, listener), or (channel, None) to watch."
    )


async def astreams_url(
    pairs: Sequence[tuple[Any, Any]],
    request: Any = None,
    *,
    cursor: int | str | None = None,
) -> str:
    """As streams_url(), for a coroutine."""
    return await sync_to_async(streams_url)(pairs, request, cursor=cursor)


@has_twin
def users_online(channel_id: Any) -> list[Any]:
    """
    Return the users who have a stream of a channel's listeners open now, on whatever server.

    Each once, by their keys; watchers have no listener, so no user. Three queries, one more
    for each 200 users beyond the first. Raises InvalidChannelException.
    """
    return online.users_online(DatabaseChannel.load(channel_id_of(channel_id)).row)


async def ausers_online(channel_id: Any) -> list[Any]:
    """As users_online(), for a coroutine."""
    return await sync_to_async(users_online)(channel_id)
