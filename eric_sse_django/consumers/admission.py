"""Who is let in to which stream."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser

from eric_sse_django import authorization
from eric_sse_django.consumers.refused import Refused
from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.database.rows import channel_row, check_identifier, listener_row
from eric_sse_django.exception import (
    InvalidChannelException,
    InvalidIdentifier,
    InvalidListenerException,
)
from eric_sse_django.hub import Hub
from eric_sse_django.models import Channel, Listener

FORBIDDEN = "You may not open this stream: log in as who may, or bring a ticket for it.\n"


@dataclass(frozen=True)
class Admission:
    """What may be streamed; `ends_at` is the time.monotonic() when leave ends, if it does."""

    channel: Channel
    listener: Listener | None
    ends_at: float | None = None
    # The hub's position before the rows were read: what was told since may have been missed.
    as_of: int | None = None
    # The key of the user whose session or ticket it is, as text; None for nobody known.
    user_key: str | None = None


@dataclass
class _Found:
    """What one visit to the database found."""

    channel: Channel | None = None
    listener: Listener | None = None
    user: Any = None


async def admit(hub: Hub, request: StreamRequest) -> Admission:
    """
    Return what the request may stream; waits for the hub's thread, and for the rule.

    Raises Refused: 403 for whom no rule lets in (also where nothing exists, so that
    nobody learns what does), 204 for a listener that was stopped or removed: that
    ends an EventSource for good.
    """
    ticket, as_of = _ticket(request), hub.tail.position
    found = await hub.run(_find, request, ticket is None)
    channel, listener = found.channel, found.listener
    if channel is None:
        raise Refused(204) if ticket else Refused(403, FORBIDDEN)
    if ticket is None and not await _allows(hub, found):
        raise Refused(403, FORBIDDEN)
    if listener is not None and not listener.running:
        raise Refused(204)
    ends_at = None if ticket is None else time.monotonic() + ticket.expires_at - time.time()
    user_key = None if found.user is None or found.user.pk is None else str(found.user.pk)
    return Admission(channel, listener, ends_at, as_of, user_key)


async def _allows(hub: Hub, found: _Found) -> bool:
    rules = authorization.authorizer()
    if found.listener is not None:
        of_listener = (found.user, found.channel, found.listener)
        return await authorization.ask(hub.run, rules.can_listen, *of_listener)
    return await authorization.ask(hub.run, rules.can_watch, found.user, found.channel)


def _ticket(request: StreamRequest) -> authorization.Ticket | None:
    """Return the request's ticket if it is for this stream; a bad one is refused."""
    text = request.ticket
    if text is None:
        return None
    try:
        ticket = authorization.read_ticket(text)
    except authorization.InvalidTicket as invalid:
        raise Refused(403, f"{invalid}\n") from invalid
    return ticket if ticket.covers(request.channel_id, request.listener_id) else None


def _find(request: StreamRequest, asks_user: bool) -> _Found:
    """Return the rows, and the user if asked for. Called on the hub's thread."""
    found = _Found()
    try:
        # No query for what cannot be an id: PostgreSQL raises ValueError for a NUL.
        channel = channel_row(check_identifier(request.channel_id))
        if request.listener_id is not None:
            found.listener = listener_row(channel, check_identifier(request.listener_id))
        found.channel = channel
    except (InvalidIdentifier, InvalidChannelException, InvalidListenerException):
        return found
    if asks_user:
        found.user = request.user or authorization.session_user(request.cookies)
        found.user = found.user or AnonymousUser()
    return found
