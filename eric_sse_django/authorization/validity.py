"""Whether tickets still open what they were made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from eric_sse_django import log
from eric_sse_django.authorization.sessions import Visitor
from eric_sse_django.authorization.tickets import Ticket
from eric_sse_django.models import Channel, Listener, Revocation, subjects_of

# Seconds that the clocks of two servers may differ by.
CLOCKS_APART_S = 5.0

# A ticket, and what there is for it to open: a channel and its listener, None to watch.
Place = tuple[Channel, "Listener | None"]
Use = tuple[Ticket, "Place | None"]

FOREIGN = "its ticket is for a listener or channel that was removed"
REVOKED = "its ticket was revoked"
EXPIRED = "its ticket has expired"


def flaws(uses: Sequence[Use], visitor: Visitor | None = None) -> list[str | None]:
    """
    Return why each ticket opens nothing, None where it does. One query, none for no ticket.

    One that is bound to the session of the `visitor` is good at any age, and after that
    session got another key or its user another password.
    """
    if not uses:
        return []
    revoked = _revoked(uses)
    return [_flaw(use, revoked, visitor) for use in uses]


def _revoked(uses: Sequence[Use]) -> Mapping[str, datetime]:
    wanted = {each for ticket, place in uses for each in ticket.subjects | _of(place)}
    rows = Revocation.objects.filter(subject__in=sorted(wanted))
    return dict(rows.values_list("subject", "revoked_at"))


def _of(place: Place | None) -> frozenset[str]:
    if place is None:
        return frozenset()
    channel, listener = place
    if listener is None:
        return subjects_of(channel.pk, None, None)
    return subjects_of(channel.pk, listener.pk, listener.owner_id)


def _flaw(use: Use, revoked: Mapping[str, datetime], visitor: Visitor | None) -> str | None:
    ticket, place = use
    if place is not None and _is_of_another(ticket, place[1] or place[0]):
        return FOREIGN
    issued_at = log.moment_of(ticket.issued_at)
    # A user or a row gets access anew, so these go by time; a session never does.
    lasting = (ticket.subjects - ticket.session) | _of(place)
    if any(revoked[subject] >= issued_at for subject in lasting & revoked.keys()):
        return REVOKED
    if visitor is not None and ticket.is_of(visitor):
        return None
    if not ticket.session.isdisjoint(revoked.keys()):
        return REVOKED
    return EXPIRED if ticket.has_expired() else None


def _is_of_another(ticket: Ticket, row: Channel | Listener) -> bool:
    """Whether what the ticket is for was removed, and this row was made by its id."""
    if ticket.key not in (None, row.pk):
        return True
    if not ticket.issued_at:
        return False  # it is of a version that did not say when it was made
    # Also where the keys are equal: they are given again in a database that was restored.
    return log.moment_of(ticket.issued_at + CLOCKS_APART_S) < row.created_at
