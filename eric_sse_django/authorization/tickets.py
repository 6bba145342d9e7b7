"""Tickets: signed strings that open a stream, for clients that cannot send headers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.core import signing

from eric_sse_django import conf
from eric_sse_django.exception import EricError
from eric_sse_django.models import subject_of_session, subject_of_user

SALT = "eric_sse_django.ticket"
# Seconds a ticket may be good for: so long its revocation is remembered.
MOST_AGE_S = 365 * 86_400.0


class InvalidTicket(EricError):
    """The ticket is forged, broken or past its time."""


@dataclass(frozen=True)
class Ticket:
    """
    Leave to open the stream of one listener, or (listener None) to watch one channel.

    `expires_at` and `issued_at` are in seconds since the epoch; a stream that it opened
    ends at the first. `user` is the key of the user it is bound to, as text. `subjects` are
    those whose revocation voids it.
    """

    channel: str
    listener: str | None
    expires_at: float
    issued_at: float = 0.0
    user: str | None = None
    session: str | None = None

    @property
    def subjects(self) -> frozenset[str]:
        user = None if self.user is None else subject_of_user(self.user)
        return frozenset(filter(None, (user, self.session)))

    def covers(self, channel: str, listener: str | None) -> bool:
        return self.channel == channel and self.listener == listener


def make_ticket(
    channel: str,
    listener: str | None = None,
    max_age_s: float | None = None,
    *,
    user: Any = None,
    session: str | None = None,
) -> str:
    """
    Return a signed string for a URL's `?ticket=`; good for TICKET_MAX_AGE_S by default.

    It is a bearer token: who has it, has the stream. Bound to a `user` (an object, or its
    key) or to a `session` (its key), it counts no more once that is revoked, as logging out
    does; a session's is good for TICKET_MAX_AGE_S at most, any other for a year. Signed with
    SECRET_KEY; SECRET_KEY_FALLBACKS are honoured.
    """
    now, usual = time.time(), conf.get("TICKET_MAX_AGE_S")
    age = usual if max_age_s is None else min(max_age_s, MOST_AGE_S)
    age = age if session is None else min(age, usual)
    bound = (
        None if user is None else str(getattr(user, "pk", user)),
        None if session is None else subject_of_session(session),
    )
    return signing.dumps(
        [channel, listener, round(now + age, 3), round(now, 6), *bound], salt=SALT
    )


def read_ticket(text: str) -> Ticket:
    """Return the ticket, checked without a query; raises InvalidTicket."""
    try:
        ticket = Ticket(*signing.loads(text, salt=SALT))
    except (signing.BadSignature, ValueError, UnicodeError) as error:
        raise InvalidTicket("The ticket was not signed here.") from error
    if ticket.expires_at <= time.time():
        raise InvalidTicket("The ticket is past its time: make a new one.")
    return ticket
