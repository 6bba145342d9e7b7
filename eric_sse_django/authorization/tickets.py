"""Tickets: signed strings that open a stream, for clients that cannot send headers."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.core import signing

from eric_sse_django import conf
from eric_sse_django.exception import EricError

SALT = "eric_sse_django.ticket"


class InvalidTicket(EricError):
    """The ticket is forged, broken or past its time."""


@dataclass(frozen=True)
class Ticket:
    """
    Leave to open the stream of one listener, or (listener None) to watch one channel.

    `expires_at` is in seconds since the epoch; a stream that it opened ends then.
    """

    channel: str
    listener: str | None
    expires_at: float

    def covers(self, channel: str, listener: str | None) -> bool:
        return self.channel == channel and self.listener == listener


def make_ticket(channel: str, listener: str | None = None, max_age_s: float | None = None) -> str:
    """
    Return a signed string for a URL's `?ticket=`; good for TICKET_MAX_AGE_S by default.

    Signed with SECRET_KEY; SECRET_KEY_FALLBACKS are honoured. It is a bearer token: who
    has it, has the stream.
    """
    age = conf.get("TICKET_MAX_AGE_S") if max_age_s is None else max_age_s
    return signing.dumps([channel, listener, round(time.time() + age, 3)], salt=SALT)


def read_ticket(text: str) -> Ticket:
    """Return the ticket, checked without a query; raises InvalidTicket."""
    try:
        channel, listener, expires_at = signing.loads(text, salt=SALT)
    except (signing.BadSignature, ValueError, UnicodeError) as error:
        raise InvalidTicket("The ticket was not signed here.") from error
    if expires_at <= time.time():
        raise InvalidTicket("The ticket is past its time: make a new one.")
    return Ticket(channel, listener, expires_at)
