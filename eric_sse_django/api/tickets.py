"""Access to streams: the URL of a stream with a ticket in it, and revoking access."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from eric_sse_django import address, conf
from eric_sse_django.api.access import (
    has,
    known_channel,
    known_listener,
    known_user,
    own_listener,
    require,
    watchable,
)
from eric_sse_django.api.caller import caller_of
from eric_sse_django.api.documented import errors, example
from eric_sse_django.api.listeners import LISTENER
from eric_sse_django.api.problem import Problem
from eric_sse_django.api.schemas import ChannelId, ListenerId, NewTicket, Revoked, TicketOut
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
    """Who has it, has the stream. For your own, or any with the permission sign_listener."""
    row = own_listener(request, channel_id, listener_id, SIGN)
    return _ticket(request, body, row.channel, row)


@router.post(
    "/channels/{channel_id}/ticket",
    response={201: TicketOut},
    summary="Get the URL of watching a channel",
    openapi_extra={**errors(404), **AGE},
)
def make_watch_ticket(
    request: HttpRequest, channel_id: ChannelId, body: NewTicket
) -> Status[TicketOut]:
    """Who has it, sees the broadcasts. Asks can_watch, or for the permission sign_listener."""
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
    Its streams end, and tickets made until now are no longer valid.

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

    Clients that the rules let in may open them again. Needs the permission operate_listener.
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
def revoke_user(request: HttpRequest, body: Revoked) -> Status[None]:
    """
    The user's streams end, also those of listeners they own; their tickets are no longer valid.

    While they are logged in they may open them again. Needs the permission operate_listener.
    """
    require(request, "operate_listener")
    revoke(user=known_user(body.user, "body.user"))
    return Status(204, None)


def _ticket(
    request: HttpRequest, body: NewTicket, channel: Channel, listener: Listener | None = None
) -> Status[TicketOut]:
    most = int(conf.get("TICKET_MAX_AGE_S"))
    if body.max_age_s is not None and body.max_age_s > most:
        detail = f"A ticket is good for {most} s at most."
        raise Problem(422, detail, {"body.max_age_s": f"over {most}"})
    owner = None if listener is None else listener.owner_id
    text = make_ticket(channel, listener, body.max_age_s, **_bound(request, owner))
    expires_at = datetime.fromtimestamp(read_ticket(text).expires_at, timezone.utc)
    path = address.of(channel.name, None if listener is None else listener.name)
    url = address.with_query(path, [text])
    return Status(201, TicketOut(ticket=text, url=url, expires_at=expires_at))


def _bound(request: HttpRequest, owner: Any) -> dict[str, Any]:
    """
    Return whom to bind a ticket to: the session; with a token, its user.

    But a program that may sign for others, does: its tickets are the listener's owner's, or
    nobody's, for the streams of all would count as the program's (MAX_STREAMS_PER_USER).
    """
    caller = caller_of(request)
    if caller.token is None:
        return bound_to(request)
    return {"user": owner if has(request, SIGN) else caller.user}
