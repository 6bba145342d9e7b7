"""Tickets: signed strings in a URL that open a stream; made, read, checked against the rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.core import signing
from django.core.exceptions import ValidationError

from eric_sse_django import conf, log
from eric_sse_django.authorization.revocation import KEPT_S
from eric_sse_django.authorization.sessions import Visitor, name_login, subjects_of_session
from eric_sse_django.exception import EricError
from eric_sse_django.models import (
    Channel,
    Listener,
    Revocation,
    is_identifier,
    subject_of_user,
    subjects_of,
)

SALT = "eric_sse_django.ticket"
# Seconds a ticket may be valid for: as long as its revocation is remembered.
MAX_AGE_S = KEPT_S
# Seconds by which the clocks of two servers may differ.
CLOCKS_APART_S = 5.0
# Prefixes of a session's subjects that no other session shares.
LOGIN, SESSION = "login:", "session:"

# A ticket, and what exists for it to open: a channel and its listener, None to watch.
Use = tuple["Ticket", "tuple[Channel, Listener | None] | None"]

FOREIGN = "its ticket is for a listener or channel that was removed"
REVOKED = "its ticket was revoked"
EXPIRED = "its ticket has expired"


class InvalidTicket(EricError):
    """The ticket is forged or broken, or it has expired."""


@dataclass(frozen=True)
class Ticket:
    """
    Access to the stream of one listener, or (listener None) to watching one channel.

    `expires_at` and `issued_at` are seconds since the epoch. `user` is the key of the user that
    it is bound to, as text; `session` the subjects of the session that it is bound to. `key` is
    the primary key of the listener or channel, None if only the ids are known. `since` is the
    position to which a watching client may go back, None for the limit of all clients.
    """

    channel: str
    listener: str | None
    expires_at: float
    issued_at: float = 0.0
    user: str | None = None
    session: frozenset[str] = frozenset()
    key: int | None = None
    since: int | None = None

    @cached_property
    def subjects(self) -> frozenset[str]:
        """The subjects whose revocation makes it invalid, besides those of what it opens."""
        return self.session if self.user is None else self.session | {subject_of_user(self.user)}

    def has_expired(self) -> bool:
        return self.expires_at <= time.time()

    def is_of(self, visitor: Visitor) -> bool:
        """Return whether it is bound to the visitor's session, which may use it at any age."""
        if not self.session or not visitor.session:
            return False
        user = None if visitor.key is None else str(visitor.key)
        logins = {each for each in self.session if each.startswith(LOGIN)}
        # Not the password's subject: all sessions of the user have that.
        names = logins or {each for each in self.session if each.startswith(SESSION)}
        return user == self.user and not visitor.session.isdisjoint(names)


def make_ticket(
    channel: Any,
    listener: Any = None,
    max_age_s: float | None = None,
    *,
    user: Any = None,
    session: Any = None,
    since: int | None = None,
) -> str:
    """
    Return a signed string for a URL's `?ticket=`, valid for TICKET_MAX_AGE_S by default.

    It opens the stream of a listener, or without one that of watching a channel, where a client
    may go back to the position `since` (default: the log's head; any client may go back
    WATCH_REPLAY_S). Both are ids, or what the shortcuts return.
    Two queries at most, none for a listener object. A coroutine uses amake_ticket(): there this
    function cannot query, and the ticket names its stream by the ids alone.

    It is a bearer token: whoever has it can open the stream. Bound to a `user` (an object, or its
    key) or to a `session` (a request's, or its key), it is no longer valid once that is revoked,
    as logging out does. A session's ticket is valid for TICKET_MAX_AGE_S at most, and longer only
    for requests with that session's cookie; any other is valid for a year at most. Signed with
    SECRET_KEY; SECRET_KEY_FALLBACKS are accepted. Raises ValueError for a `max_age_s` that is
    not a number.
    """
    if max_age_s is not None and not _is_number(max_age_s):
        raise ValueError(f"max_age_s is {max_age_s!r}: give a number of seconds, or None.")
    channel_id, listener_id, key, since = _opened(channel, listener, since)
    now, usual = time.time(), conf.get("TICKET_MAX_AGE_S")
    age = usual if max_age_s is None else min(max_age_s, MAX_AGE_S)
    age = age if session is None else min(age, usual)
    user = None if user is None else str(getattr(user, "pk", user))
    names = [] if session is None else sorted(subjects_of_session(session))
    return signing.dumps(
        [channel_id, listener_id, round(now + age, 3), round(now, 6), user, names, key, since],
        salt=SALT,
        compress=True,  # the URL of a stream of several channels has many of them
    )


amake_ticket = sync_to_async(make_ticket)


def _is_number(value: Any) -> bool:
    """Return whether it is one: not NaN, with which a ticket would never expire."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and value == value


def bound_to(request: Any) -> dict[str, Any]:
    """
    Return make_ticket()'s `user` and `session`, as far as a Django request has them.

    {} for None. It reads the session, so the response varies by the cookie, as it should: the
    ticket is the visitor's.
    """
    user, session = getattr(request, "user", None), getattr(request, "session", None)
    found: dict[str, Any] = {}
    if user is not None and user.is_authenticated:
        found["user"] = user.pk
        if session is not None and SESSION_KEY in session:
            name_login(session)  # it may be older than the app, or made by hand
            found["session"] = session
    if session is not None and session.session_key:
        found["session"] = session
    return found


def read_ticket(text: str, *, also_expired: bool = False) -> Ticket:
    """Return the ticket, checked without a query; raises InvalidTicket."""
    try:
        channel, listener, expires_at, *more = signing.loads(text, salt=SALT)
        issued_at, user, session, *rest = [*more, None, None, None][: max(3, len(more))]
        # The version before had one subject, and wrote None for no session.
        names = frozenset([session] if isinstance(session, str) else session or ())
        ticket = Ticket(channel, listener, expires_at, issued_at or 0.0, user, names, *rest)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidTicket("The signature of the ticket is not valid.") from error
    if not also_expired and ticket.has_expired():
        raise InvalidTicket("The ticket has expired: create a new one.")
    return ticket


# What it opens --------------------------------------------------------------------------


def _opened(
    channel: Any, listener: Any, since: int | None
) -> tuple[str, str | None, int | None, int | None]:
    """Return the ids of what a ticket opens, its primary key and first position, if known."""
    channel, listener = getattr(channel, "row", channel), getattr(listener, "row", listener)
    channel_id: str = channel.name if isinstance(channel, Channel) else channel
    if isinstance(listener, Listener):
        return channel_id, listener.name, listener.pk, None
    can_query = not _is_in_coroutine()
    if listener is not None:
        listeners = Listener.objects.filter(channel__name=channel_id)
        return channel_id, listener, _key(listeners, listener) if can_query else None, None
    key: int | None = channel.pk if isinstance(channel, Channel) else None
    if key is None and can_query:
        key = _key(Channel.objects.all(), channel_id)
    if since is None and can_query:
        since, _ = log.head()
    return channel_id, None, key, since


def _key(rows: Any, name: str) -> int | None:
    """Return the primary key of the row with that name, None if there is none."""
    try:
        is_identifier(name)  # PostgreSQL raises ValueError for a NUL
    except ValidationError:
        return None
    # By the exact name: MariaDB's usual collations find "orders" by "ORDERS".
    found = rows.filter(name=name).values_list("pk", "name").first()
    return found[0] if found and found[1] == name else None


def _is_in_coroutine() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# Whether it still opens that ------------------------------------------------------------


def flaws(uses: Sequence[Use], visitor: Visitor | None = None) -> list[str | None]:
    """
    Return why each ticket is invalid, None where it is valid. One query, none for no ticket.

    A ticket that is bound to the session of the `visitor` is valid at any age, and after that
    session got another key or its user another password.
    """
    if not uses:
        return []
    opened, wanted = [], set[str]()
    for ticket, target in uses:
        subjects = frozenset[str]()
        if target is not None:
            channel, listener = target
            keys = (None, None) if listener is None else (listener.pk, listener.owner_id)
            subjects = subjects_of(channel.pk, *keys)
        opened.append(subjects)
        wanted |= subjects | ticket.subjects
    rows = Revocation.objects.filter(subject__in=sorted(wanted))
    revoked = dict(rows.values_list("subject", "revoked_at"))
    return [_flaw(*use, of, revoked, visitor) for use, of in zip(uses, opened, strict=True)]


def _flaw(
    ticket: Ticket,
    target: tuple[Channel, Listener | None] | None,
    opened: frozenset[str],
    revoked: Mapping[str, datetime],
    visitor: Visitor | None,
) -> str | None:
    if target is not None and _is_of_another(ticket, target[1] or target[0]):
        return FOREIGN
    if revoked:
        issued_at = log.moment_of(ticket.issued_at)
        # A user or a row may get access again, so these compare times; a session never does.
        lasting = (ticket.subjects - ticket.session) | opened
        if any(revoked[subject] >= issued_at for subject in lasting & revoked.keys()):
            return REVOKED
    if visitor is not None and ticket.is_of(visitor):
        return None
    if not ticket.session.isdisjoint(revoked.keys()):
        return REVOKED
    return EXPIRED if ticket.has_expired() else None


def _is_of_another(ticket: Ticket, row: Channel | Listener) -> bool:
    """Return whether the ticket's row was removed, and this one has taken its id."""
    if ticket.key not in (None, row.pk):
        return True
    if not ticket.issued_at:
        return False  # a version that did not record when it was issued made it
    # Also where the keys are equal: a database that was restored gives them again.
    return log.moment_of(ticket.issued_at + CLOCKS_APART_S) < row.created_at
