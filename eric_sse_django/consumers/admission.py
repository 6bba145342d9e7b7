"""Who is let in to which stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser

from eric_sse_django import authorization
from eric_sse_django.authorization import Ticket
from eric_sse_django.consumers.refused import Refused
from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.database.places import Ids, Place, places
from eric_sse_django.hub import Hub
from eric_sse_django.models import subject_of_session, subject_of_user

FORBIDDEN = "You may not open this stream: log in as who may, or bring a ticket for it.\n"


@dataclass(frozen=True)
class Admission:
    """What may be streamed; `ends_at` is the time.monotonic() when leave ends, if it does."""

    places: Sequence[Place]
    ends_at: float | None = None
    # The hub's position before the rows were read: what was told since may have been missed.
    as_of: int | None = None
    # The key of the user whose session or ticket it is, as text; None for nobody known.
    user_key: str | None = None
    # Those whose revocation ends it, beside its listeners and their owners.
    subjects: frozenset[str] = frozenset()


@dataclass
class _Found:
    """What one visit to the database found."""

    places: list[Place | None]
    revoked: bool = False


@dataclass(frozen=True)
class _Visitor:
    """The user of a request, as found by code that may be the project's own."""

    user: Any = None
    key: Any = None
    subjects: frozenset[str] = frozenset()


async def admit(hub: Hub, request: StreamRequest) -> Admission:
    """
    Return what the request may stream; waits for the hub's thread, and for the rule.

    The session's store, the user object and the rules may be a project's own: they are called
    by the hub's `hooks`, where they may hang alone.

    Raises Refused: 403 for whom no rule lets in (also where nothing exists, so that
    nobody learns what does), 204 for a listener that was stopped or removed: that
    ends an EventSource for good; 400 for a query that names nothing. Of several channels,
    one that is refused is enough.
    """
    ids = _ids(request)
    by_ticket = _by_ticket(request, ids)
    as_of = hub.tail.position
    found = await hub.run(_find, ids, by_ticket)
    asked = [place for pair, place in zip(ids, found.places, strict=True) if pair not in by_ticket]
    # Also for what there is not: as many steps as for what is forbidden.
    visitor = await hub.hooks.call(_visitor, request) if asked else _Visitor()
    if not all(asked):
        raise Refused(403, FORBIDDEN)
    for place in filter(None, asked):
        if not await _allows(hub, visitor.user, place):
            raise Refused(403, FORBIDDEN)
    if found.revoked:
        raise Refused(403, "The ticket was revoked: make a new one.\n")
    served = [place for place in found.places if place is not None]
    if len(served) < len(ids) or any(row and not row.running for _, row in served):
        raise Refused(204)
    subjects = visitor.subjects.union(*(ticket.subjects for ticket in by_ticket.values()))
    user_key = _user_key(visitor.key, by_ticket.values(), served)
    # Not an empty set of its own for each stream: 216 bytes.
    return Admission(
        served, _ends_at(by_ticket.values()), as_of, user_key, subjects or frozenset()
    )


def _ids(request: StreamRequest) -> list[Ids]:
    try:
        return request.ids()
    except ValueError as wrong:
        raise Refused(400, f"{wrong}\n") from wrong


def _by_ticket(request: StreamRequest, ids: Sequence[Ids]) -> dict[Ids, Ticket]:
    """Return the request's tickets by what they open of it; a bad one is refused."""
    try:
        tickets = [authorization.read_ticket(text) for text in request.query("ticket")]
    except authorization.InvalidTicket as invalid:
        raise Refused(403, f"{invalid}\n") from invalid
    return {pair: ticket for ticket in tickets for pair in ids if ticket.covers(*pair)}


async def _allows(hub: Hub, user: Any, place: Place) -> bool:
    channel, listener = place
    if listener is not None:
        return await authorization.ask(hub.hooks.call, "can_listen", user, channel, listener)
    return await authorization.ask(hub.hooks.call, "can_watch", user, channel)


def _find(ids: Sequence[Ids], by_ticket: dict[Ids, Ticket]) -> _Found:
    """Return the rows, and whether a ticket was revoked. Called on the hub's thread."""
    found = _Found(places(ids))
    listeners = {pair: place[1] for pair, place in zip(ids, found.places, strict=True) if place}
    uses = [(ticket, listeners.get(pair)) for pair, ticket in by_ticket.items()]
    found.revoked = authorization.any_revoked(uses)
    return found


def _visitor(request: StreamRequest) -> _Visitor:
    """Return the request's user, of a middleware or of its session. Called by the hooks."""
    user = request.user or authorization.session_user(request.cookies) or AnonymousUser()
    if not user.is_authenticated:
        return _Visitor(user)
    subjects = {subject_of_user(user)}
    if request.session_key:
        subjects.add(subject_of_session(request.session_key))
    return _Visitor(user, user.pk, frozenset(subjects))


def _ends_at(tickets: Iterable[Ticket]) -> float | None:
    ends = [ticket.expires_at for ticket in tickets]
    return time.monotonic() + min(ends) - time.time() if ends else None


def _user_key(user_key: Any, tickets: Iterable[Ticket], served: Sequence[Place]) -> str | None:
    """Return whose stream it is: the session's user, else a ticket's, else an owner."""
    keys = [
        user_key,
        *(ticket.user for ticket in tickets),
        *(listener.owner_id for _, listener in served if listener is not None),
    ]
    return next((str(key) for key in keys if key is not None), None)
