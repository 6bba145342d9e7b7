"""Revoking access: streams end on every process, and tickets made before are no longer valid."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.utils.timezone import now

from eric_sse_django import conf, log, notifier
from eric_sse_django.authorization.sessions import ending_of_session
from eric_sse_django.entry import REVOKE
from eric_sse_django.models import (
    Channel,
    Listener,
    Revocation,
    subject_of_channel,
    subject_of_listener,
    subject_of_user,
    user_key,
)
from eric_sse_django.outage import Outage
from eric_sse_django.retry_thread import RetryThread

logger = logging.getLogger(__name__)

# Seconds for which the revocation of a user, listener or channel is remembered: as long as a
# ticket may be valid.
KEPT_S = 365 * 86_400.0
# Seconds for which a session's revocation is remembered, at least: Django removes the session
# only after it has sent the signal that its user logs out.
SESSION_KEPT_S = 3_600.0
# Subjects in one notice: 40 kB.
BATCH = 500


def revoke(
    *,
    user: Any = None,
    listener: Any = None,
    session: Any = None,
    channel: Any = None,
) -> None:
    """
    Close the streams of a user, a listener (or several), a session (or its key), a channel.

    On every process within a second of the caller's commit; no message published later is sent
    on them. Tickets made before for the listener, for the channel or its listeners, for a user's
    listeners, or bound to the user or session, are no longer valid. A session opens no stream
    for SESSION_COOKIE_AGE. For any other client that reconnects the rules are checked again, so
    first change what they depend on. Returns at once, whatever the number of streams. Raises
    TypeError for any other object, ValueError for no argument and for a user that is not saved.
    """
    kept: dict[str, float] = {}
    if user is not None:
        kept[subject_of_user(_saved(user))] = KEPT_S
    if listener is not None:
        kept |= {subject_of_listener(row): KEPT_S for row in _listeners(listener)}
    if session is not None:
        kept |= session_kept(ending_of_session(session), settings.SESSION_COOKIE_AGE)
    if channel is not None:
        kept[subject_of_channel(_row(channel, Channel))] = KEPT_S
    if user is listener is session is channel is None:
        raise ValueError("Nothing to revoke, or None: pass a user, listener, session or channel.")
    revoke_subjects(kept)


arevoke = sync_to_async(revoke)


def _saved(user: Any) -> Any:
    key = user_key(user)
    if key is None:
        raise ValueError(
            f"{user!r} is not a saved user: revoke the visitor's session or listener. "
            "Deleting a user ends the user's streams."
        )
    return key


def _listeners(given: Any) -> list[Listener]:
    """Return the rows of a listener, or of several: rows, or what the shortcuts return."""
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return [_row(each, Listener) for each in several]


def _row(given: Any, model: type[Any]) -> Any:
    row = getattr(given, "row", given)
    if not isinstance(row, model):
        what = model.__name__.lower()
        raise TypeError(f"{given!r} is not a {what}: pass its row, or what the shortcuts return.")
    return row


def session_kept(subjects: Iterable[str], least_s: float = SESSION_KEPT_S) -> dict[str, float]:
    """Return a session's subjects, each with the seconds its revocation is remembered."""
    kept_s = max(SESSION_KEPT_S, least_s, conf.get("TICKET_MAX_AGE_S"))
    return dict.fromkeys(subjects, kept_s)


def revoke_subjects(kept: Mapping[str, float], also: Iterable[str] = ()) -> None:
    """
    Revoke subjects, in the caller's transaction: all, or none if it raises.

    `kept` maps each subject to the seconds for which its revocation is remembered: tickets made
    before are no longer valid. The streams of `also` only end. Four statements for 500 subjects.
    """
    subjects = sorted({*kept, *also})
    if not subjects:
        return
    using = log.database()
    with transaction.atomic(using=using):
        _write(using, kept)
        batches = [subjects[first : first + BATCH] for first in range(0, len(subjects), BATCH)]
        notifier.publish([log.notice(REVOKE, batch) for batch in batches])


def revoke_subjects_later(kept: Mapping[str, float], also: Iterable[str] = ()) -> None:
    """
    Revoke subjects as revoke_subjects() does, once the database allows it. Returns at once.

    What a process has not written when it ends is lost: those streams last up to
    MAX_STREAM_AGE_S, and their tickets until they expire.
    """
    retries.add({**dict.fromkeys(also, 0.0), **kept})


def _retry(items: Mapping[str, float]) -> None:
    kept = {subject: kept_s for subject, kept_s in items.items() if kept_s}
    revoke_subjects(kept, items.keys() - kept.keys())


retries: RetryThread[str] = RetryThread(
    "eric-sse-revoking", _retry, lambda: Outage(logger, "revoking access")
)


def _write(using: str, kept: Mapping[str, float]) -> None:
    at = now()
    rows = [
        Revocation(subject=subject, revoked_at=at, expires_at=at + timedelta(seconds=kept_s))
        for subject, kept_s in sorted(kept.items())
    ]
    named = connections[using].features.supports_update_conflicts_with_target
    Revocation.objects.bulk_create(
        rows,
        BATCH,
        update_conflicts=True,
        update_fields=["revoked_at", "expires_at"],
        unique_fields=["subject"] if named else None,
    )


def any_remembered(subjects: Iterable[str]) -> bool:
    """Return whether the revocation of any of these subjects is remembered. One query at most."""
    wanted = sorted(subjects)
    rows = Revocation.objects.filter(subject__in=wanted)
    return bool(wanted) and rows.exists()
