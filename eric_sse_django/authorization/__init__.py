"""Who may listen, watch and publish."""

from eric_sse_django.authorization.binding import bound_to
from eric_sse_django.authorization.revocation import any_revoked, revoke
from eric_sse_django.authorization.rules import Authorizer, ask, ask_now, authorizer
from eric_sse_django.authorization.sessions import may_monitor, session_user
from eric_sse_django.authorization.tickets import InvalidTicket, Ticket, make_ticket, read_ticket

__all__ = [
    "Authorizer",
    "InvalidTicket",
    "Ticket",
    "any_revoked",
    "ask",
    "ask_now",
    "authorizer",
    "bound_to",
    "make_ticket",
    "may_monitor",
    "read_ticket",
    "revoke",
    "session_user",
]
