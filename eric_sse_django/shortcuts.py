"""
The functions for views: publish, listen, and the URL of a stream.

A channel is an id or what channel() returned; a listener is what listen() returned, or an id if
its channel is given too; an owner is a user or the user's key. Each function has an async twin
with the prefix `a`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Sum

from eric_sse_django import conf, log, stream_urls
from eric_sse_django.authorization import bound_to, make_ticket
from eric_sse_django.database import DatabaseChannel, DatabaseListener
from eric_sse_django.database.arguments import (
    TO_ALL,
    channel_id_of,
    id_of_device,
    id_of_user,
    ids_of_listener,
    listener_id_of,
    narrowed,
    owner_key,
)
from eric_sse_django.database.channel import known_channel, publish_to
from eric_sse_django.database.operations import seen
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.message import Payload
from eric_sse_django.models import OpenStream, PresentListener, Watchers

# Users that users_online() loads in one query.
USERS_BATCH = 200


@has_twin
def channel(channel_id: str, **options: Any) -> DatabaseChannel:
    """Return the channel with that id; create it (DatabaseChannel.create()) if there is none."""
    return DatabaseChannel.get_or_create(channel_id, **options)


achannel = twin_of_function(channel)


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

    It is delivered for `expires_in_s` seconds; None: as long as the channel states. It is kept
    if and only if the caller's transaction commits. Waits for its INSERT only: one statement
    (two for the first message to a channel, and after the channel was changed).

    Raises InvalidChannelException, InvalidListenerException, InvalidMessageFormat; ValueError
    for a `listener_id` or `owner` of None, and for an owner that is not saved; TypeError.
    """
    row = known_channel(channel_id)
    if listener_id is not TO_ALL and owner is not TO_ALL:
        raise ValueError("Give listener_id or owner, not both.")
    name = None if listener_id is TO_ALL else listener_id_of(narrowed("listener_id", listener_id))
    key = None if owner is TO_ALL else owner_key(narrowed("owner", owner))
    draft = log.draft(row, type, payload, owner=key, expires_in_s=expires_in_s)
    publish_to(row, draft, name, expires_in_s)


apublish = twin_of_function(publish)


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
    Return a running listener of a channel: the existing one with that id, or a new one.

    Without an id, an owner has one listener for each channel, which all devices share: what one
    device was served, a device that was offline does not get. With a `device` (the request, or
    any name) each device has its own listener. Without all three, each call creates a listener.
    `acknowledgement` is as in DatabaseChannel.add_listener().

    Raises InvalidChannelException, and TooManyListeners if MAX_LISTENERS_PER_CHANNEL is reached.
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


alisten = twin_of_function(listen)


@has_twin
def cursor() -> int:
    """
    Return the log's head: the position from which a page that is rendered now should listen.

    One query. Call it BEFORE the queries for what the page shows. A stream that is opened with
    it (`last_event_id`) delivers everything published after it: nothing is lost between
    rendering and connecting. A message whose state the page already shows may be delivered too.
    """
    position, _ = log.head()
    return position


acursor = twin_of_function(cursor)


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

    The listener's owner may open it; with `ticket`, every client that has the URL, for
    TICKET_MAX_AGE_S seconds. With a `request` the ticket is bound to its user and session, and
    is no longer valid after they log out. Give a `cursor` only if the page shows the state up to
    it: the stream skips earlier messages. Raises TypeError for a value that is not a listener.
    """
    ids = ids_of_listener(listener)
    if not ticket and request is None:
        return stream_urls.with_query(stream_urls.path_of(*ids), cursor=cursor)
    row = getattr(listener, "row", listener)
    tickets = [make_ticket(ids[0], row, **bound_to(request))]
    return stream_urls.with_query(stream_urls.path_of(*ids), tickets, cursor)


astream_url = twin_of_function(stream_url)


@has_twin
def watch_url(channel_id: Any, *, request: Any = None, cursor: int | str | None = None) -> str:
    """
    Return the path of a channel's stream without a listener, with a ticket for it.

    The ticket is bound to the user and session of a `request`, if one is given. With it a
    client may replay from the `cursor` on (without one: from now on), also after it was
    suspended for long. Two queries at most.
    """
    name = channel_id_of(channel_id)
    tickets = [make_ticket(name, since=_since(cursor), **bound_to(request))]
    return stream_urls.with_query(stream_urls.path_of(name), tickets, cursor)


def _since(cursor: int | str | None) -> int | None:
    """Return the cursor as a position; None if it is not one, which with_query() refuses."""
    return int(str(cursor)) if str(cursor).isdecimal() else None


awatch_url = twin_of_function(watch_url)


@has_twin
def streams_url(
    pairs: Sequence[tuple[Any, Any]],
    request: Any = None,
    *,
    cursor: int | str | None = None,
) -> str:
    """
    Return the path of one stream of several channels, with a ticket for each.

    A pair is a channel and its listener, or None to watch. Otherwise as watch_url(). Raises
    ValueError for no channels, for one channel twice, and for more than
    MAX_CHANNELS_PER_STREAM; TypeError.
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


astreams_url = twin_of_function(streams_url)


@has_twin
def users_online(channel_id: Any = None) -> list[Any]:
    """
    Return the owners of listeners that have an open stream now, on any server.

    With receivers of the signals of listeners or users, also of those whose last stream ended
    less than GRACE_S seconds ago: they have not left, and a reload does not remove them.

    Of a channel, or of all. Each user once, ordered by key; watchers have no listener, so no
    user. Two queries, and one for each 200 users. Raises InvalidChannelException.
    """
    only: dict[str, Any] = {"listener__owner__isnull": False}
    if channel_id is not None:
        only["listener__channel"] = DatabaseChannel.load(channel_id_of(channel_id)).row
    streams, leaving = OpenStream.objects.online(), PresentListener.objects.leaving()
    owners = [
        rows.filter(**only).values_list("listener__owner", flat=True)
        for rows in (streams, leaving)
    ]
    # One statement: a stream that opens or ends meanwhile is not missed between two.
    keys = sorted(owners[0].union(owners[1]))
    users: Any = get_user_model()._default_manager
    found: dict[Any, Any] = {}
    for first in range(0, len(keys), USERS_BATCH):
        found |= users.in_bulk(keys[first : first + USERS_BATCH])
    return [found[key] for key in keys if key in found]


ausers_online = twin_of_function(users_online)


@has_twin
def watchers_online(channel_id: Any) -> int:
    """
    Return how many streams watch a channel now, on all servers. Two queries.

    Raises InvalidChannelException.
    """
    channel = DatabaseChannel.load(channel_id_of(channel_id)).row
    rows = Watchers.objects.online().filter(channel=channel)
    return int(rows.aggregate(number=Sum("streams"))["number"] or 0)


awatchers_online = twin_of_function(watchers_online)
