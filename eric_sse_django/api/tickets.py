"""Leave to open streams: the URL of a stream with a ticket in it, and taking leave back."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from eric_sse_django import address, conf
from eric_sse_django.api.access import (
    has,
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
    return _ticket(request, body, (row.channel.name, row.name), row.owner_id)


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
    return _ticket(request, body, (row.name, None), None)


@router.post(
    LISTENER + "/revoke",
    response={204: None},
    summary="Take back leave to open a listener's stream",
    openapi_extra=errors(404),
)
def revoke_listener(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId
) -> Status[None]:
    """
    Its streams end, and tickets made until now count no more.

    Its owner may come back. Needs the permission operate_listener.
    """
    require(request, "operate_listener")
    revoke(listener=known_listener(channel_id, listener_id))
    return Status(204, None)


@router.post(
    "/revoke",
    response={204: None},
    summary="Take back a user's leave",
    openapi_extra={**errors(), **example({"user": "ada"})},
)
def revoke_user(request: HttpRequest, body: Revoked) -> Status[None]:
    """
    The user's streams end, also those of listeners they own, and their tickets count no more.

    While they are logged in they may come back. Needs the permission operate_listener.
    """
    require(request, "operate_listener")
    revoke(user=known_user(body.user, "body.user"))
    return Status(204, None)


def _ticket(
    request: HttpRequest, body: NewTicket, ids: tuple[str, str | None], owner: Any
) -> Status[TicketOut]:
    most = int(conf.get("TICKET_MAX_AGE_S"))
    if body.max_age_s is not None and body.max_age_s > most:
        detail = f"A ticket is good for {most} s at most."
        raise Problem(422, detail, {"body.max_age_s": f"over {most}"})
    text = make_ticket(*ids, body.max_age_s, **_bound(request, owner))
    expires_at = datetime.fromtimestamp(read_ticket(text).expires_at, timezone.utc)
    url = address.with_query(address.of(*ids), [text])
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
