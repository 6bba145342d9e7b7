"""Which user, session or ticket may listen, watch and publish."""

from eric_sse_django.authorization.revocation import any_remembered, arevoke, revoke
from eric_sse_django.authorization.rules import (
    Authorizer,
    ask,
    ask_now,
    authorizer,
    monitor_visitor,
    opens_without_ticket,
)
from eric_sse_django.authorization.sessions import (
    ANONYMOUS,
    Visitor,
    subjects_of_session,
    visitor_of,
)
from eric_sse_django.authorization.tickets import (
    EXPIRED,
    FOREIGN,
    REVOKED,
    InvalidTicket,
    Ticket,
    amake_ticket,
    bound_to,
    flaws,
    make_ticket,
    read_ticket,
)

__all__ = [
    "ANONYMOUS",
    "EXPIRED",
    "FOREIGN",
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
