"""
Receivers of Django's signals for events that narrow access: each revokes its subjects.

This covers logging in and out, and the ORM's save() and delete(), including the admin and
cascades. It does not cover QuerySet.update(), bulk_update(), raw SQL, groups and permissions, nor
what a project's own rules depend on: call revoke() after those.

It never fails the caller's login, logout, save or delete: what the log's database refuses is
written later.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.db import connections, transaction

from eric_sse_django import log
from eric_sse_django.authorization import revocation
from eric_sse_django.authorization.revocation import KEPT_S, revoke_subjects, session_kept
from eric_sse_django.authorization.sessions import ending_of_session, name_login
from eric_sse_django.models import (
    Channel,
    Listener,
    deleted_with,
    note_deletion,
    subject_of_auth,
    subject_of_listener,
    subject_of_user,
    subject_of_watchers,
)

logger = logging.getLogger(__name__)

# The attribute that keeps the old values between the two signals of one save.
BEFORE = "_eric_sse_before"
# From narrow to wide.
WIDTHS = [
    str(each) for each in (Channel.Access.TICKET, Channel.Access.USERS, Channel.Access.EVERYONE)
]

Handler = Callable[..., None]


def harmless(handler: Handler) -> Handler:
    """Return a signal handler that logs what it raises: it must not fail the caller."""

    @functools.wraps(handler)
    def handle(**options: Any) -> None:
        try:
            handler(**options)
        except Exception:
            logger.exception("could not compare access: call revoke() if it was narrowed")

    return handle


def _revoke(using: str | None, kept: Mapping[str, float], also: Iterable[str] = ()) -> None:
    """
    Revoke subjects with the caller's transaction on `using` (None: the log's database).

    In that transaction if the log is in the same database, else after its commit.
    """
    also, here = list(also), log.database()
    if not kept and not also:
        return

    def revoke() -> None:
        _revoke_now(here, kept, also)

    if using in (None, here):
        revoke()
    else:
        # Not a partial: for robust=True Django reads the __qualname__ of a callback that fails.
        transaction.on_commit(revoke, using=using, robust=True)


def _revoke_now(using: str, kept: Mapping[str, float], also: Sequence[str]) -> None:
    """Revoke subjects; if the database fails, as soon as it is available."""
    if revocation.retries.is_failing():
        _revoke_later(using, kept, also)  # at once: a caller does not wait for that database
        return
    try:
        revoke_subjects(kept, also)
    except Exception:  # noqa: BLE001 - it is tried again there, and logged
        _revoke_later(using, kept, also)


def _revoke_later(using: str, kept: Mapping[str, float], also: Sequence[str]) -> None:
    """
    Revoke subjects after the caller's commit, on a thread.

    What the caller rolls back has not narrowed access, and before the commit a client that
    reconnects would get access again.
    """

    def revoke() -> None:
        revocation.revoke_subjects_later(kept, also)

    if connections[using].in_atomic_block:
        transaction.on_commit(revoke, using=using, robust=True)
    else:
        revoke()


@harmless
def before_deleted(instance: Any, origin: Any = None, **_: object) -> None:
    """Record what is deleted together. Connected to pre_delete of all models here."""
    note_deletion(instance, origin)


# Sessions -------------------------------------------------------------------------------


@harmless
def on_logged_in(request: Any = None, **_: object) -> None:
    """
    Name the login, in its session. Connected to user_logged_in.

    Logins with tokens send that signal too, and must not get a session here.
    """
    session = getattr(request, "session", None)
    if session is not None and SESSION_KEY in session:
        name_login(session)


@harmless
def on_logged_out(request: Any = None, **_: object) -> None:
    """Close the streams of the session that ends. Connected to user_logged_out."""
    session = getattr(request, "session", None)
    if session is not None:
        _revoke(None, session_kept(ending_of_session(session)))


# Users ----------------------------------------------------------------------------------


@harmless
def before_user_saved(
    instance: Any, raw: bool = False, using: Any = None, update_fields: Any = None, **_: object
) -> None:
    """Record the user as it is in the database: one query. Connected to pre_save."""
    instance.__dict__.pop(BEFORE, None)
    is_login = update_fields is not None and set(update_fields) <= {"last_login"}
    if not (raw or is_login or instance._state.adding):
        users = type(instance)._base_manager.using(using)
        setattr(instance, BEFORE, users.filter(pk=instance.pk).first())


@harmless
def on_user_saved(instance: Any, using: Any = None, **_: object) -> None:
    """
    Close the streams of a user that was deactivated, or of sessions with an old password.

    A user that is no longer staff or superuser can reconnect if the rules allow it. Connected to
    post_save.
    """
    before = instance.__dict__.pop(BEFORE, None)
    if before is None:
        return
    kept: dict[str, float] = {}
    if _has_lost("is_active", before, instance):
        kept[subject_of_user(instance)] = KEPT_S
    is_less = any(_has_lost(flag, before, instance) for flag in ("is_staff", "is_superuser"))
    old, new = _auth_hashes(before), _auth_hashes(instance)
    if old[:1] != new[:1]:
        kept |= session_kept(map(subject_of_auth, old))
    _revoke(using, kept, [subject_of_user(instance)] * is_less)


def _has_lost(flag: str, before: Any, now: Any) -> bool:
    """Return whether a user lost a flag; False if the user model has no such flag."""
    return bool(getattr(before, flag, True)) and not getattr(now, flag, True)


def _auth_hashes(user: Any) -> list[str]:
    """Return the password hashes that sessions of the user may have, the current one first."""
    if not hasattr(user, "get_session_auth_hash"):
        return []
    return [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]


@harmless
def on_user_deleted(instance: Any, origin: Any = None, using: Any = None, **_: object) -> None:
    """Close the streams of deleted users, once for all of them. Connected to post_delete."""
    users = deleted_with(instance, origin)
    _revoke(using, {subject_of_user(user): KEPT_S for user in users})


# Channels and listeners -----------------------------------------------------------------


def _record(instance: Any, fields: set[str], options: Mapping[str, Any]) -> None:
    """Record a field (by its names) as it is in the database, if a save may change it."""
    instance.__dict__.pop(BEFORE, None)
    changed = options.get("update_fields")
    is_kept = changed is not None and fields.isdisjoint(changed)
    if not (options.get("raw") or instance._state.adding or is_kept):
        rows = type(instance)._base_manager.filter(pk=instance.pk)
        setattr(instance, BEFORE, rows.values_list(*sorted(fields)).first())


@harmless
def before_channel_saved(instance: Channel, **options: Any) -> None:
    """Record the channel's access: one query. Connected to pre_save."""
    _record(instance, {"access"}, options)


@harmless
def on_channel_saved(instance: Channel, using: Any = None, **_: object) -> None:
    """End the watchers' streams if fewer users may watch than before. Connected to post_save."""
    before = instance.__dict__.pop(BEFORE, None)
    if before is not None and _width(instance.access) < _width(before[0]):
        _revoke(using, {}, [subject_of_watchers(instance)])


def _width(access: str) -> int:
    return WIDTHS.index(access) if access in WIDTHS else 0


@harmless
def on_channel_deleted(
    instance: Channel, origin: Any = None, using: Any = None, **_: object
) -> None:
    """Close the streams of watchers of deleted channels. Connected to post_delete."""
    _revoke(using, {}, map(subject_of_watchers, deleted_with(instance, origin)))


@harmless
def before_listener_saved(instance: Listener, **options: Any) -> None:
    """Record the listener's owner: one query. Connected to pre_save."""
    _record(instance, {"owner", "owner_id"}, options)


@harmless
def on_listener_saved(instance: Listener, using: Any = None, **_: object) -> None:
    """
    Revoke access to a listener whose owner changed. Connected to post_save.

    If it had no owner, its streams only end: after they reconnect they get the owner's messages.
    """
    before = instance.__dict__.pop(BEFORE, None)
    if before is None or before[0] == instance.owner_id:
        return
    subject = subject_of_listener(instance)
    _revoke(using, {} if before[0] is None else {subject: KEPT_S}, [subject])
