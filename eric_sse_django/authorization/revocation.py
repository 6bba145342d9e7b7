"""Taking leave back: streams end on every process, and tickets made before count no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from django.conf import settings
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
)

# Seconds that the clocks of two servers may differ by.
CLOCKS_APART_S = 5.0


def revoke(*, user: Any = None, listener: Listener | None = None, session: Any = None) -> None:
    """
    Close the streams of a user, a listener (its row) or a session (its key), everywhere.

    After the caller's commit, within a second, and no message published later goes out on
    them. Tickets that were made before for the listener, for a user's listeners, or bound to
    the user or session, count no more. Who comes back is asked for leave anew: take away first
    what the rules go by. Returns at once, whatever the number of streams.
    """
    kept: dict[str, float] = {}
    if user is not None:
        kept[subject_of_user(user)] = MOST_AGE_S
    if listener is not None:
        kept[subject_of_listener(listener)] = MOST_AGE_S
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


def subjects_of(listener: Listener | None) -> frozenset[str]:
    """Return the subjects whose revocation ends a listener's stream, whoever opened it."""
    if listener is None:
        return frozenset()
    if listener.owner_id is None:
        return frozenset({subject_of_listener(listener)})
    return frozenset({subject_of_listener(listener), subject_of_user(listener.owner_id)})


def is_revoked(ticket: Ticket, listener: Listener | None) -> bool:
    """Whether a ticket counts no more, for the listener that it names. One query."""
    issued_at = datetime.fromtimestamp(ticket.issued_at, timezone.utc if settings.USE_TZ else None)
    latest = issued_at + timedelta(seconds=CLOCKS_APART_S)
    if listener is not None and latest < listener.created_at:
        return True  # its listener was removed, and another made by that id
    subjects: Iterable[str] = ticket.subjects | subjects_of(listener)
    rows = Revocation.objects.using(log.database())
    return rows.filter(subject__in=sorted(subjects), revoked_at__gte=issued_at).exists()


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
