"""What the tests ask about tickets."""

from __future__ import annotations

from eric_sse_django.authorization import Ticket, flaws
from eric_sse_django.models import Listener


def ids_of(ticket: Ticket) -> tuple[str, str | None]:
    """Return the ids of the channel and listener that a ticket opens; None to watch."""
    return ticket.channel, ticket.listener


def is_void(ticket: Ticket, listener: Listener | None = None) -> bool:
    """Whether a ticket opens nothing (any more), for a listener where it is one's."""
    place = None if listener is None else (listener.channel, listener)
    [flaw] = flaws([(ticket, place)])
    return flaw is not None
