"""Who may listen, watch and publish."""

from eric_sse_django.authorization.binding import bound_to, opens_without_ticket
from eric_sse_django.authorization.revocation import any_remembered, arevoke, revoke
from eric_sse_django.authorization.rules import Authorizer, ask, ask_now, authorizer
from eric_sse_django.authorization.sessions import NOBODY, Visitor, monitor_visitor, visitor_of
from eric_sse_django.authorization.subjects import subjects_of_session
from eric_sse_django.authorization.tickets import (
    InvalidTicket,
    Ticket,
    amake_ticket,
    make_ticket,
    read_ticket,
)
from eric_sse_django.authorization.validity import EXPIRED, FOREIGN, REVOKED, flaws

__all__ = [
    "EXPIRED",
    "FOREIGN",
    "NOBODY",
    "REVOKED",
    "Authorizer",
    "InvalidTicket",
    "Ticket",
    "Visitor",
    "amake_ticket",
    "any_remembered",
    "arevoke",
    "ask",
    "ask_now",
    "authorizer",
    "bound_to",
    "flaws",
    "make_ticket",
    "monitor_visitor",
    "opens_without_ticket",
    "read_ticket",
    "revoke",
    "subjects_of_session",
    "visitor_of",
]
