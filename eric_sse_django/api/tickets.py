"""Access to streams: URLs with a ticket, and revoking access."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from eric_sse_django import conf, stream_urls
from eric_sse_django.api.access import (
    caller_of,
    has,
    known_channel,
    known_listener,
    known_user,
    own_listener,
    require,
    watchable,
)
from eric_sse_django.api.listeners import LISTENER
from eric_sse_django.api.problem import Problem, errors
from eric_sse_django.api.schemas import (
    ChannelId,
    ListenerId,
    NewTicket,
    TicketOut,
    UserRevocation,
    example,
)
from eric_sse_django.authorization import bound_to, make_ticket, read_ticket, revoke
from eric_sse_django.models import Channel, Listener

router = Router(tags=["tickets"])
SIGN = "sign_listener"
AGE = example({"max_age_s": 60})


@router.post(
    LISTENER + "/ticket",
    response={201: TicketOut},
    summary="Get the URL of a listener's stream",
    openapi_extra={**errors(404), **AGE},
)
def make_stream_ticket(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId, body: NewTicket
) -> Status[TicketOut]:
    """
    Whoever has the URL can open the stream.

    For your own listener, or for any with the permission sign_listener.
    """
    row = own_listener(request, channel_id, listener_id, SIGN)
    return _ticket(request, body, row.channel, row)


@router.post(
    "/channels/{channel_id}/ticket",
    response={201: TicketOut},
    summary="Get a URL that watches a channel",
    openapi_extra={**errors(404), **AGE},
)
def make_watch_ticket(
    request: HttpRequest, channel_id: ChannelId, body: NewTicket
) -> Status[TicketOut]:
    """
    Whoever has the URL gets the broadcasts.

    Checks can_watch, or needs the permission sign_listener.
    """
    row = watchable(request, channel_id, SIGN)
    return _ticket(request, body, row)


@router.post(
    LISTENER + "/revoke",
    response={204: None},
    summary="Revoke access to a listener's stream",
    openapi_extra=errors(404),
)
def revoke_listener(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId
) -> Status[None]:
    """
    Its streams end, and existing tickets are no longer valid.

    Its owner may open it again. Needs the permission operate_listener.
    """
    require(request, "operate_listener")
    revoke(listener=known_listener(channel_id, listener_id))
    return Status(204, None)


@router.post(
    "/channels/{channel_id}/revoke",
    response={204: None},
    summary="Revoke access to a channel's streams",
    openapi_extra=errors(404),
)
def revoke_channel(request: HttpRequest, channel_id: ChannelId) -> Status[None]:
    """
    The streams of its listeners and watchers end, and their tickets are no longer valid.

    Clients with access by the rules may open them again. Needs the permission operate_listener.
    """
    require(request, "operate_listener")
    revoke(channel=known_channel(channel_id))
    return Status(204, None)


@router.post(
    "/revoke",
    response={204: None},
    summary="Revoke a user's access",
    openapi_extra={**errors(), **example({"user": "ada"})},
)
def revoke_user(request: HttpRequest, body: UserRevocation) -> Status[None]:
    """
    The streams of the user and of listeners the user owns end; their tickets are no longer valid.

    A user who is logged in may open them again. Needs the permission operate_listener.
    """
    require(request, "operate_listener")
    revoke(user=known_user(body.user, "body.user"))
    return Status(204, None)


def _ticket(
    request: HttpRequest, body: NewTicket, channel: Channel, listener: Listener | None = None
) -> Status[TicketOut]:
    most = int(conf.get("TICKET_MAX_AGE_S"))
    if body.max_age_s is not None and body.max_age_s > most:
        detail = f"A ticket is valid for {most} s at most."
        raise Problem(422, detail, {"body.max_age_s": f"over {most}"})
    owner = None if listener is None else listener.owner_id
    text = make_ticket(channel, listener, body.max_age_s, **_bound(request, owner))
    expires_at = datetime.fromtimestamp(read_ticket(text).expires_at, timezone.utc)
    path = stream_urls.path_of(channel.name, None if listener is None else listener.name)
    url = stream_urls.with_query(path, [text])
    return Status(201, TicketOut(ticket=text, url=url, expires_at=expires_at))


def _bound(request: HttpRequest, owner: Any) -> dict[str, Any]:
    """
    Return what to bind a ticket to: the session, or with a token its user.

    A program with sign_listener makes tickets for others: they are bound to the listener's owner
    or to no user, because else all streams would count as the program's (MAX_STREAMS_PER_USER).
    """
    caller = caller_of(request)
    if caller.token is None:
        return bound_to(request)
    return {"user": owner if has(request, SIGN) else caller.user}
