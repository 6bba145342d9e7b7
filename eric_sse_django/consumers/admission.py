"""Admission: which streams a request may open, by its tickets, its session and the rules."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import attrgetter, or_
from typing import Any

from django.db.models import Exists, Q, QuerySet

from eric_sse_django import authorization, conf
from eric_sse_django.authorization import ANONYMOUS, Ticket, Visitor
from eric_sse_django.consumers.limits import Seat
from eric_sse_django.consumers.request import Ids, Refused, StreamRequest
from eric_sse_django.hub import Hub
from eric_sse_django.models import Channel, Listener, Revocation, could_be_id

# Tickets that are read beside one for each channel: checking a signature takes 15 us.
SPARE_TICKETS = 10

FORBIDDEN = (
    "Access denied: log in as a user with access to this stream, "
    "or add a valid ticket to its URL.\n"
)

_expiry = attrgetter("expires_at")

# What a stream serves: a channel and one of its listeners, None to watch the channel.
Target = tuple[Channel, "Listener | None"]


@dataclass(frozen=True)
class Admission:
    """What may be streamed; `ends_at` is the time.monotonic() when access ends, None for never."""

    targets: Sequence[Target]
    # For each, the position after which it begins at the earliest; 0 for the listener's cursor.
    since: Sequence[int]
    last_event_id: int | None
    ends_at: float | None
    # The hub's position before the rows were read: later revocations may be missing in them.
    as_of: int | None
    # The subjects whose revocation ends the stream, beside those of its targets.
    subjects: frozenset[str]


@dataclass
class _Found:
    """What one call to the database found."""

    targets: dict[Ids, Target | None]
    flaws: dict[Ids, str | None]  # why a ticket is invalid, None where it is valid
    is_revoked: bool  # the visitor's session


async def admit(hub: Hub, request: StreamRequest, seat: Seat) -> Admission:
    """
    Return what the request may stream; waits for the hub's thread and for the rules.

    An invalid ticket counts as none: then the session and the rules decide. The session store,
    the user object and the rules may be a project's own: the hub's `hooks` call them, where they
    may hang without harm.

    Raises Full where the user's seats are taken, and Refused: 403 without access, also to what
    does not exist, so that the response does not reveal it; 204 for a listener that was stopped
    or removed, which ends an EventSource permanently; 400 for a query that names nothing. Of
    several channels, one that is refused is enough.
    """
    as_of, ids = hub.follower.known.position, request.ids()
    tickets, problems = _tickets(request, ids)
    visitor, found = await _find(hub, request, ids, tickets)
    used: dict[Ids, Ticket] = {}
    targets: list[Target] = []
    for pair in ids:
        if pair in tickets and found.flaws[pair] is None:
            used[pair] = tickets[pair]
        else:
            await _check_rules(hub, pair, visitor, problems, found)
        target = found.targets[pair]
        if target is not None and (target[1] is None or target[1].running):
            targets.append(target)
    if len(targets) < len(ids):
        raise Refused(204, reason="the listener was stopped or removed")
    seat.take("MAX_STREAMS_PER_USER", _user_key(visitor, used.values(), targets))
    last_event_id, since = request.last_event_id(), [0] * len(ids)
    for number, pair in enumerate(ids):
        if pair[1] is None and last_event_id is not None:
            since[number] = await _since(hub, last_event_id, used.get(pair))
    ends_at = _ends_at(request, used.values(), visitor) if used else None
    subjects = visitor.subjects
    for ticket in used.values():
        subjects |= ticket.subjects
    # One empty set for all streams: 216 bytes.
    return Admission(targets, since, last_event_id, ends_at, as_of, subjects or frozenset())


# Tickets and the session ----------------------------------------------------------------


def _tickets(request: StreamRequest, ids: Sequence[Ids]) -> tuple[dict[Ids, Ticket], list[str]]:
    """Return the tickets for these ids, and what is wrong with the others."""
    found: dict[Ids, Ticket] = {}
    problems, texts = [], request.query("ticket")
    most = len(ids) + SPARE_TICKETS
    if len(texts) > most:
        problems.append(f"only {most} of {len(texts)} tickets were read")
    is_any_signed = False
    for text in texts[:most]:
        try:
            ticket = authorization.read_ticket(text, also_expired=True)
        except authorization.InvalidTicket:
            problems.append("the signature of a ticket is not valid")
            continue
        pair = ticket.channel, ticket.listener
        is_any_signed = True
        if pair in ids:
            found[pair] = ticket
    if is_any_signed and not found:
        problems.append("its ticket is for another stream")
    return found, problems


async def _find(
    hub: Hub, request: StreamRequest, ids: Sequence[Ids], tickets: dict[Ids, Ticket]
) -> tuple[Visitor, _Found]:
    """
    Return the visitor, if a valid ticket is missing, and what the database has.

    The visitor first if it is known that a ticket is missing: then the query for the rows also
    finds whether the session was revoked.
    """
    visitor = None
    if len(tickets) < len(ids) or min(map(_expiry, tickets.values())) <= time.time():
        visitor = await hub.hooks.run(_visitor, request)
    found = await hub.run(_look_up, ids, tickets, visitor)
    if visitor is None and any(found.flaws.values()):
        visitor = await hub.hooks.run(_visitor, request)
        found = await hub.run(_look_up, ids, tickets, visitor)
    return ANONYMOUS if found.is_revoked or visitor is None else visitor, found


def _visitor(request: StreamRequest) -> Visitor:
    """Return the visitor that a middleware or the session names. Called by the hooks."""
    if not request.user:
        return authorization.visitor_of(request.session_key())
    session = request.session or request.session_key()
    known_by = authorization.subjects_of_session(session) if session else frozenset[str]()
    return Visitor.of(request.user, known_by)


def _user_key(
    visitor: Visitor, tickets: Iterable[Ticket], targets: Iterable[Target]
) -> str | None:
    """Return the key of the stream's user: the session's, else a ticket's, else an owner's."""
    if visitor.key is not None:
        return str(visitor.key)
    for ticket in tickets:
        if ticket.user is not None:
            return ticket.user
    for _, listener in targets:
        if listener is not None and listener.owner_id is not None:
            return str(listener.owner_id)
    return None


def _ends_at(request: StreamRequest, tickets: Iterable[Ticket], visitor: Visitor) -> float | None:
    """
    Return when the first ticket expires; None if all are bound to the request's session.

    A session's ticket ends its stream with the session, not before. Without the session's cookie
    the ticket may have leaked. No query: if the session has a new key, the stream ends when the
    ticket expires, and its client reconnects.
    """
    ends, cookie = [], None
    for ticket in tickets:
        if ticket.session and cookie is None:
            key = request.session_key()
            cookie = authorization.subjects_of_session(key) if key else frozenset[str]()
        if ticket.session.isdisjoint(cookie or ()) and not ticket.is_of(visitor):
            ends.append(ticket.expires_at)
    return time.monotonic() + min(ends) - time.time() if ends else None


async def _since(hub: Hub, last_event_id: int, ticket: Ticket | None) -> int:
    """
    Return the position after which a watched channel begins, 0 if the client names a later one.

    A ticket allows to go back to its start, and any client may go back WATCH_REPLAY_S: one that
    reconnects with a new ticket misses nothing. Looked up, once a minute for all, if needed.
    """
    head = hub.follower.known.position
    if last_event_id >= head:
        return 0
    start = head if ticket is None or ticket.since is None else ticket.since
    back_s = conf.get("WATCH_REPLAY_S")
    if last_event_id >= start or not back_s:
        return start
    return min(start, await hub.past.position(back_s))


# The rules ------------------------------------------------------------------------------


async def _check_rules(
    hub: Hub, pair: Ids, visitor: Visitor, problems: Sequence[str], found: _Found
) -> None:
    """Raise Refused if the rules do not allow the stream; the response is always the same."""
    target = found.targets[pair]
    if target is None:
        what = "channel" if pair[1] is None else "listener"
        raise Refused(403, FORBIDDEN, reason=f"there is no such {what}{_why(problems, found)}")
    channel, listener = target
    rule = "can_watch" if listener is None else "can_listen"
    rows = (channel,) if listener is None else (channel, listener)
    if not await authorization.ask(hub.hooks.run, rule, visitor.user, *rows):
        of = "a visitor without login" if visitor.key is None else f"the user {visitor.key!r}"
        raise Refused(403, FORBIDDEN, reason=f"{rule} refuses {of}{_why(problems, found)}")


def _why(problems: Iterable[str], found: _Found) -> str:
    """Return what is wrong with the tickets and the session, for the log."""
    reasons = [*problems, *filter(None, found.flaws.values())]
    reasons += ["its session was revoked"] * found.is_revoked
    return "".join(f"; {reason}" for reason in dict.fromkeys(reasons))


# The database ---------------------------------------------------------------------------


def _look_up(ids: Sequence[Ids], tickets: dict[Ids, Ticket], visitor: Visitor | None) -> _Found:
    """Called on the hub's thread: two queries at most, and one more if there are tickets."""
    targets, is_revoked = targets_of(ids, visitor.session if visitor else ())
    uses = [(ticket, targets[pair]) for pair, ticket in tickets.items()]
    flaws = authorization.flaws(uses, None if is_revoked else visitor)
    return _Found(targets, dict(zip(tickets, flaws, strict=True)), is_revoked)


def targets_of(
    ids: Sequence[Ids], subjects: Collection[str] = ()
) -> tuple[dict[Ids, Target | None], bool]:
    """
    Return the rows with these ids, None for those that do not exist; two queries at most.

    And whether the revocation of any of these subjects is remembered, which the same queries
    find; False if no row exists.
    """
    # No query for what cannot be an id: PostgreSQL raises ValueError for a NUL.
    watched, pairs = [], []
    for channel_id, listener_id in ids:
        if listener_id is None and could_be_id(channel_id):
            watched.append(channel_id)
        elif listener_id is not None and could_be_id(channel_id) and could_be_id(listener_id):
            pairs.append(Q(channel__name=channel_id, name=listener_id))
    rows: list[Channel | Listener] = []
    if watched:
        rows += _with_revoked(Channel.objects.filter(name__in=watched), subjects)
    if pairs:
        listeners = Listener.objects.select_related("channel").filter(reduce(or_, pairs))
        rows += _with_revoked(listeners, subjects)
    found: dict[Ids, Target | None] = dict.fromkeys(ids)
    is_revoked = False
    for row in rows:
        is_revoked = is_revoked or getattr(row, "is_revoked", False)
        target = (row, None) if isinstance(row, Channel) else (row.channel, row)
        pair = target[0].name, None if target[1] is None else row.name
        # By the exact ids: MariaDB's usual collations find "orders" by "ORDERS".
        if pair in found:
            found[pair] = target
    return found, is_revoked


def _with_revoked(rows: QuerySet[Any], subjects: Collection[str]) -> QuerySet[Any]:
    """Return the rows, each with whether the revocation of a subject is remembered."""
    if not subjects:
        return rows
    found: QuerySet[Any] = rows.annotate(
        is_revoked=Exists(Revocation.objects.filter(subject__in=subjects))
    )
    return found
