"""Tickets: signed strings that open a stream, for clients that cannot send headers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.core import signing
from django.core.exceptions import ValidationError

from eric_sse_django import conf, log
from eric_sse_django.authorization.revocation import KEPT_S
from eric_sse_django.authorization.sessions import Visitor
from eric_sse_django.authorization.subjects import subjects_of_session
from eric_sse_django.exception import EricError
from eric_sse_django.models import (
    Channel,
    Listener,
    is_identifier,
    subject_of_user,
)

SALT = "eric_sse_django.ticket"
# Seconds a ticket may be good for: so long its revocation is remembered.
MAX_AGE_S = KEPT_S
# How the subjects of a session begin that no other session has.
LOGIN, SESSION = "login:", "session:"


class InvalidTicket(EricError):
    """The ticket is forged or broken, or it has expired."""


@dataclass(frozen=True)
class Ticket:
    """
    Access to the stream of one listener, or (listener None) to watching one channel.

    `expires_at` and `issued_at` are in seconds since the epoch. `user` is the key of the user
    it is bound to, as text; `session` are the subjects of the session it is bound to. `key` is
    the row's that it opens, None where only its ids are known. `since` is the position to
    which a client may go back that watches with it, None for no further than any.
    """

    channel: str
    listener: str | None
    expires_at: float
    issued_at: float = 0.0
    user: str | None = None
    session: frozenset[str] = frozenset()
    key: int | None = None
    since: int | None = None

    @property
    def subjects(self) -> frozenset[str]:
        """Those whose revocation makes it invalid, besides what it opens."""
        return self.session if self.user is None else self.session | {subject_of_user(self.user)}

    def has_expired(self) -> bool:
        return self.expires_at <= time.time()

    def covers(self, channel: str, listener: str | None) -> bool:
        return self.channel == channel and self.listener == listener

    def is_of(self, visitor: Visitor) -> bool:
        """Whether it is bound to the session of a visitor: that one may use it at any age."""
        user = None if visitor.key is None else str(visitor.key)
        logins = {each for each in self.session if each.startswith(LOGIN)}
        # Not by the password: all sessions of the user have that.
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
    Return a signed string for a URL's `?ticket=`; good for TICKET_MAX_AGE_S by default.

    It opens the stream of a listener, or without one that of watching a channel, where a client
    may go back to the position `since` (default: the log's head; any may go back
    WATCH_REPLAY_S). Both are ids, or what the shortcuts return.
    Two queries at most, none for a listener that is given itself. A coroutine uses
    amake_ticket(): there this one cannot query, and the ticket is for what has those ids.

    It is a bearer token: who has it, has the stream. Bound to a `user` (an object, or its
    key) or to a `session` (a request's, or its key), it is no longer valid once that is
    revoked, as logging out does. A session's is valid for TICKET_MAX_AGE_S at most, and longer
    only for requests with that session's cookie; any other is valid for a year at most. Signed
    with SECRET_KEY; SECRET_KEY_FALLBACKS are honoured.
    """
    channel_id, listener_id, key, since = _opened(channel, listener, since)
    now, usual = time.time(), conf.get("TICKET_MAX_AGE_S")
    age = usual if max_age_s is None else min(max_age_s, MAX_AGE_S)
    age = age if session is None else min(age, usual)
    user = None if user is None else str(getattr(user, "pk", user))
    names = [] if session is None else sorted(subjects_of_session(session))
    return signing.dumps(
        [channel_id, listener_id, round(now + age, 3), round(now, 6), user, names, key, since],
        salt=SALT,
        compress=True,  # a stream of several channels has many of them in its URL
    )


amake_ticket = sync_to_async(make_ticket)


def read_ticket(text: str, *, also_expired: bool = False) -> Ticket:
    """Return the ticket, checked without a query; raises InvalidTicket."""
    try:
        channel, listener, expires_at, *more = signing.loads(text, salt=SALT)
        issued_at, user, session, *rest = [*more, None, None, None][: max(3, len(more))]
        # The version before had one subject, and wrote None for no session.
        names = frozenset([session] if isinstance(session, str) else session or ())
        ticket = Ticket(channel, listener, expires_at, issued_at or 0.0, user, names, *rest)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidTicket("The ticket was not signed here.") from error
    if ticket.has_expired() and not also_expired:
        raise InvalidTicket("The ticket has expired: make a new one.")
    return ticket


# What it opens --------------------------------------------------------------------------


def _opened(
    channel: Any, listener: Any, since: int | None
) -> tuple[str, str | None, int | None, int | None]:
    """Return the ids of what a ticket opens, its row's key and from where on, if known."""
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
    """Return the key of the row with that name, None where there is none."""
    try:
        is_identifier(name)  # a NUL would be an error of the database
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
