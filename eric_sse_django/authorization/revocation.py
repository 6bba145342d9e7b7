"""Taking leave back: streams end on every process, and tickets made before count no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.utils.timezone import now

from eric_sse_django import conf, log, notifier
from eric_sse_django.authorization.tickets import MOST_AGE_S, Ticket
from eric_sse_django.entry import REVOKE
from eric_sse_django.models import (
    Listener,
    Revocation,
    subject_of_listener,
    subject_of_session,
    subject_of_user,
    subjects_of,
)

# Seconds that the clocks of two servers may differ by.
CLOCKS_APART_S = 5.0


def revoke(
    *,
    user: Any = None,
    listener: Listener | Iterable[Listener] | None = None,
    session: Any = None,
) -> None:
    """
    Close the streams of a user, a listener (its row, or several) or a session (its key).

    Everywhere, within a second of the caller's commit, and no message published later goes out on
    them. Tickets that were made before for the listener, for a user's listeners, or bound to
    the user or session, count no more. Who comes back is asked for leave anew: take away first
    what the rules go by. Returns at once, whatever the number of streams.
    """
    kept: dict[str, float] = {}
    if user is not None:
        kept[subject_of_user(user)] = MOST_AGE_S
    if listener is not None:
        rows = [listener] if isinstance(listener, Listener) else listener
        kept |= {subject_of_listener(row): MOST_AGE_S for row in rows}
    if session is not None:
        kept[subject_of_session(session)] = conf.get("TICKET_MAX_AGE_S")
    if not kept:
        raise ValueError("Whose leave is to be taken back? Give user, listener or session.")
    using = log.database()
    with transaction.atomic(using=using):
        _write(using, kept)
        log.append([log.notice(REVOKE, sorted(kept))])
        notifier.ring_on_commit()


def _write(using: str, kept: Mapping[str, float]) -> None:
    at = now()
    rows = [
        Revocation(subject=subject, revoked_at=at, expires_at=at + timedelta(seconds=kept_s))
        for subject, kept_s in sorted(kept.items())
    ]
    named = connections[using].features.supports_update_conflicts_with_target
    Revocation.objects.using(using).bulk_create(
        rows,
        update_conflicts=True,
        update_fields=["revoked_at", "expires_at"],
        unique_fields=["subject"] if named else None,
    )


def any_revoked(uses: Sequence[tuple[Ticket, Listener | None]]) -> bool:
    """Whether one of some tickets counts no more, for the listener it is used for. One query."""
    if not uses:
        return False
    wanted = {one for ticket, listener in uses for one in ticket.subjects | _of(listener)}
    earliest = min(ticket.issued_at for ticket, _ in uses)
    rows = Revocation.objects.using(log.database()).filter(
        subject__in=sorted(wanted), revoked_at__gte=log.moment_of(earliest)
    )
    revoked_at = dict(rows.values_list("subject", "revoked_at"))
    return any(
        _is_of_another(ticket, listener)
        or any(
            revoked_at[subject] >= log.moment_of(ticket.issued_at)
            for subject in (ticket.subjects | _of(listener)) & revoked_at.keys()
        )
        for ticket, listener in uses
    )


def _of(listener: Listener | None) -> frozenset[str]:
    return subjects_of(listener.pk, listener.owner_id) if listener else frozenset()


def _is_of_another(ticket: Ticket, listener: Listener | None) -> bool:
    """Whether the ticket's listener was removed, and this one was made by its id."""
    if not ticket.issued_at:
        return False  # it is of the version before, which did not say when it was made
    latest = log.moment_of(ticket.issued_at + CLOCKS_APART_S)
    return listener is not None and latest < listener.created_at


# Signals --------------------------------------------------------------------------


def on_logged_out(request: Any = None, **_: object) -> None:
    """Close the streams of the session that ends. Connected to user_logged_out."""
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    if session_key is not None:
        revoke(session=session_key)


def on_user_saved(instance: Any, raw: bool = False, created: bool = False, **_: object) -> None:
    """Close the streams of a user who was deactivated. Connected to post_save."""
    if not raw and not created and not getattr(instance, "is_active", True):
        revoke(user=instance)


def on_user_deleted(instance: Any, **_: object) -> None:
    """Close the streams of a user who is no more. Connected to post_delete."""
    revoke(user=instance)
