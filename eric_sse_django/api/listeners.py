"""Listeners: add, list, show, change, start, stop, remove."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router, Status

from eric_sse_django.api.access import (
    known_channel,
    known_listener,
    known_user,
    listener_of,
    own_listener,
    require,
)
from eric_sse_django.api.problem import Problem, errors
from eric_sse_django.api.schemas import (
    After,
    ChannelId,
    Limit,
    ListenerChange,
    ListenerId,
    ListenerOut,
    ListenerPage,
    NewListener,
    example,
    page,
)
from eric_sse_django.database import operations
from eric_sse_django.database.rows import create_listener
from eric_sse_django.models import Listener, with_user

router = Router(tags=["listeners"])
LISTENERS = "/channels/{channel_id}/listeners"
LISTENER = LISTENERS + "/{listener_id}"


def shown(row: Listener) -> ListenerOut:
    """Return a listener as the API shows it."""
    return ListenerOut(
        id=row.name,
        channel=row.channel.name,
        owner=None if row.owner is None else row.owner.get_username(),
        running=row.running,
        acknowledgement=row.acknowledgement,
        cursor=row.cursor,
        created_at=row.created_at,
        last_seen=row.last_seen,
    )


@router.get(
    LISTENERS,
    response=ListenerPage,
    summary="List a channel's listeners",
    openapi_extra=errors(404),
)
def list_listeners(
    request: HttpRequest, channel_id: ChannelId, limit: Limit = 100, after: After = None
) -> ListenerPage:
    """Ordered by id. Needs the permission view_listener."""
    require(request, "view_listener")
    channel = known_channel(channel_id)
    listeners = Listener.objects.filter(channel=channel)
    rows, following = page(with_user(listeners.select_related("channel"), "owner"), limit, after)
    return ListenerPage(listeners=[shown(row) for row in rows], next=following)


@router.post(
    LISTENERS,
    response={201: ListenerOut},
    summary="Add a listener",
    openapi_extra={**errors(404, 409), **example({"id": "till-7", "owner": "ada"})},
)
def add_listener(
    request: HttpRequest, channel_id: ChannelId, body: NewListener
) -> Status[ListenerOut]:
    """
    It gets messages published from now on. Needs the permission add_listener.

    409 if the id exists, or if the channel has MAX_LISTENERS_PER_CHANNEL.
    """
    require(request, "add_listener")
    channel = known_channel(channel_id)
    owner = None if body.owner is None else known_user(body.owner, "body.owner")
    if body.id is not None and listener_of(channel, body.id) is not None:
        raise Problem(409, f"The listener {body.id!r} already exists.", {"body.id": "taken"})
    row = create_listener(channel, body.id, owner, body.running, body.acknowledgement)
    return Status(201, shown(row))


@router.get(LISTENER, response=ListenerOut, summary="Show a listener", openapi_extra=errors(404))
def show_listener(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId
) -> ListenerOut:
    """Your own, or any with the permission view_listener."""
    return shown(own_listener(request, channel_id, listener_id, "view_listener"))


@router.patch(
    LISTENER,
    response=ListenerOut,
    summary="Change a listener",
    openapi_extra={**errors(404), **example({"acknowledgement": "client"})},
)
def change_listener(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId, body: ListenerChange
) -> ListenerOut:
    """Open streams keep the old value. Needs the permission change_listener."""
    require(request, "change_listener")
    row = known_listener(channel_id, listener_id)
    row.acknowledgement = body.acknowledgement
    row.save(update_fields=["acknowledgement"])
    return shown(row)


@router.post(
    LISTENER + "/start",
    response=ListenerOut,
    summary="Start a listener",
    openapi_extra=errors(404),
)
def start(request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId) -> ListenerOut:
    """Its queue is delivered, and streams may open. Needs the permission operate_listener."""
    return _run(request, channel_id, listener_id, True)


@router.post(
    LISTENER + "/stop",
    response=ListenerOut,
    summary="Stop a listener",
    openapi_extra=errors(404),
)
def stop(request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId) -> ListenerOut:
    """Its streams end; new messages wait. Needs the permission operate_listener."""
    return _run(request, channel_id, listener_id, False)


def _run(request: HttpRequest, channel_id: str, listener_id: str, running: bool) -> ListenerOut:
    require(request, "operate_listener")
    row = known_listener(channel_id, listener_id)
    (operations.start if running else operations.stop)([row])
    row.running = running
    return shown(row)


@router.delete(
    LISTENER, response={204: None}, summary="Remove a listener", openapi_extra=errors(404)
)
def remove_listener(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId
) -> Status[None]:
    """Its streams end, and its queue is removed. Needs the permission delete_listener."""
    require(request, "delete_listener")
    known_listener(channel_id, listener_id).delete()
    return Status(204, None)
