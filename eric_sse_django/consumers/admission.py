"""Who is let in to which stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eric_sse_django import authorization, conf
from eric_sse_django.authorization import NOBODY, Ticket, Visitor
from eric_sse_django.consumers.refused import Refused
from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.database.places import Ids, Place, places
from eric_sse_django.hub import Hub

# Tickets that are read beside one for each channel: to check a signature takes 15 us.
SPARE_TICKETS = 10

FORBIDDEN = "You may not open this stream: log in as a user who may, or bring a ticket for it.\n"


@dataclass(frozen=True)
class Admission:
    """What may be streamed; `ends_at` is the time.monotonic() when access ends, if it does."""

    places: Sequence[Place]
    # The position after which each begins at the earliest, if its listener does not say.
    since: Sequence[int]
    ends_at: float | None = None
    # The hub's position before the rows were read: what was revoked since may have been missed.
    as_of: int | None = None
    # The key of the user whose session or ticket it is, as text; None for nobody known.
    user_key: str | None = None
    # Those whose revocation ends it, beside its channels, its listeners and their owners.
    subjects: frozenset[str] = frozenset()


@dataclass
class _Found:
    """What one visit to the database found."""

    places: dict[Ids, Place | None]
    flaws: dict[Ids, str | None]  # why a ticket opens nothing, None where it opens its stream
    is_out: bool  # the visitor's session was revoked


async def admit(hub: Hub, request: StreamRequest) -> Admission:
    """
    Return what the request may stream; waits for the hub's thread, and for the rule.

    A ticket that opens nothing (any more) is as none: then the session and the rules count.
    The session's store, the user object and the rules may be a project's own: they are called
    by the hub's `hooks`, where they may hang alone.

    Raises Refused: 403 where they let nobody in (also where nothing exists, so that nobody
    learns what does), 204 for a listener that was stopped or removed: that ends an EventSource
    for good; 400 for a query that names nothing. Of several channels, one that is refused is
    enough.
    """
    ids, as_of = _ids(request), hub.tail.position
    tickets, wrong = _tickets(request, ids)
    visitor, found = await _find(hub, request, ids, tickets)
    used = {pair: ticket for pair, ticket in tickets.items() if found.flaws[pair] is None}
    why = _why(wrong, found)
    for pair in ids:
        if pair not in used:
            await _check_allowed(hub, pair, found.places[pair], visitor, why)
    served = [place for place in found.places.values() if place is not None]
    if len(served) < len(ids) or any(row and not row.running for _, row in served):
        raise Refused(204, reason="the listener was stopped or removed")
    subjects = visitor.subjects.union(*(ticket.subjects for ticket in used.values()))
    user_key = _user_key(visitor.key, used.values(), served)
    since = [await _since(hub, request, pair, used.get(pair)) for pair in ids]
    # Not an empty set of its own for each stream: 216 bytes.
    subjects = subjects or frozenset()
    ends_at = _ends_at(request, used.values(), visitor)
    return Admission(served, since, ends_at, as_of, user_key, subjects)


async def _find(
    hub: Hub, request: StreamRequest, ids: Sequence[Ids], tickets: dict[Ids, Ticket]
) -> tuple[Visitor, _Found]:
    """
    Return the rows, what is wrong with the tickets, and the visitor where one opens nothing.

    The visitor first where it is known that a ticket is missing: what tells that the session
    was revoked then comes with the rows, and costs no query.
    """
    visitor = None
    if any(pair not in tickets or tickets[pair].has_expired() for pair in ids):
        visitor = await hub.hooks.call(_visitor, request)
    found = await hub.run(_look_up, ids, tickets, visitor)
    if visitor is None and any(found.flaws.values()):
        visitor = await hub.hooks.call(_visitor, request)
        found = await hub.run(_look_up, ids, tickets, visitor)
    return NOBODY if found.is_out or visitor is None else visitor, found


def _look_up(ids: Sequence[Ids], tickets: dict[Ids, Ticket], visitor: Visitor | None) -> _Found:
    """Called on the hub's thread: two queries at most, and one where there are tickets."""
    found, is_out = places(ids, visitor.session if visitor else ())
    uses = [(ticket, found[pair]) for pair, ticket in tickets.items()]
    flaws = authorization.flaws(uses, None if is_out else visitor)
    return _Found(found, dict(zip(tickets, flaws, strict=True)), is_out)


def _visitor(request: StreamRequest) -> Visitor:
    """Return who asks, as a middleware or the session says. Called by the hooks."""
    if not request.user:
        return authorization.visitor_of(request.cookies)
    session = request.session or request.session_key
    known_by = authorization.subjects_of_session(session) if session else frozenset[str]()
    return Visitor.of(request.user, known_by)


def _tickets(request: StreamRequest, ids: Sequence[Ids]) -> tuple[dict[Ids, Ticket], list[str]]:
    """Return the request's tickets by what they are for, and what is wrong with others."""
    tickets, wrong, texts = [], [], request.query("ticket")
    most = len(ids) + SPARE_TICKETS
    if len(texts) > most:
        wrong.append(f"of {len(texts)} tickets {most} were read")
    for text in texts[:most]:
        try:
            tickets.append(authorization.read_ticket(text, also_expired=True))
        except authorization.InvalidTicket:
            wrong.append("a ticket was not signed here")
    found = {pair: ticket for ticket in tickets for pair in ids if ticket.covers(*pair)}
    if tickets and not found:
        wrong.append("its ticket is for something else")
    return found, wrong


def _why(wrong: Iterable[str], found: _Found) -> str:
    """Return what is wrong with the tickets and the session, for the log."""
    reasons = [*wrong, *filter(None, found.flaws.values())]
    reasons += ["its session was revoked"] * found.is_out
    return "".join(f"; {reason}" for reason in dict.fromkeys(reasons))


async def _check_allowed(
    hub: Hub, pair: Ids, place: Place | None, visitor: Visitor, why: str
) -> None:
    """Raise Refused where the rules do not let the visitor in; the answer is always the same."""
    if place is None:
        what = "channel" if pair[1] is None else "listener"
        raise Refused(403, FORBIDDEN, reason=f"there is no such {what}{why}")
    channel, listener = place
    rule = "can_watch" if listener is None else "can_listen"
    rows = (channel,) if listener is None else (channel, listener)
    if not await authorization.ask(hub.hooks.call, rule, visitor.user, *rows):
        of = "a visitor without login" if visitor.key is None else f"the user {visitor.key!r}"
        raise Refused(403, FORBIDDEN, reason=f"{rule} refuses {of}{why}")


async def _since(hub: Hub, request: StreamRequest, pair: Ids, ticket: Ticket | None) -> int:
    """
    Return from which position on a channel may be watched, 0 for what a listener's row says.

    A ticket goes back to its start, and any client WATCH_REPLAY_S: one that reconnects with a
    fresh ticket misses nothing. Looked up, once a minute for all, only where that counts.
    """
    asked, head = request.last_event_id(), hub.tail.position
    if pair[1] is not None or asked is None or asked >= head:
        return 0
    start = head if ticket is None or ticket.since is None else ticket.since
    back_s = conf.get("WATCH_REPLAY_S")
    if asked >= start or not back_s:
        return start
    return min(start, await hub.past.position(back_s))


def _ids(request: StreamRequest) -> list[Ids]:
    try:
        return request.ids()
    except ValueError as wrong:
        raise Refused(400, f"{wrong}\n") from wrong


def _ends_at(request: StreamRequest, tickets: Iterable[Ticket], visitor: Visitor) -> float | None:
    """
    Return when the first ticket expires; None where each is of the session that asks.

    With that session its stream ends, not before. Without its cookie it may have leaked. No
    query: one whose session has another key by now is asked for anew when it expires.
    """
    key = request.session_key
    cookie = frozenset() if key is None else authorization.subjects_of_session(key)
    ends = [
        ticket.expires_at
        for ticket in tickets
        if ticket.session.isdisjoint(cookie) and not ticket.is_of(visitor)
    ]
    return time.monotonic() + min(ends) - time.time() if ends else None


def _user_key(user_key: Any, tickets: Iterable[Ticket], served: Sequence[Place]) -> str | None:
    """Return whose stream it is: the session's user, else a ticket's, else an owner."""
    keys = [
        user_key,
        *(ticket.user for ticket in tickets),
        *(listener.owner_id for _, listener in served if listener is not None),
    ]
    return next((str(key) for key in keys if key is not None), None)
