"""
Events that narrow access, received by Django's signals: each revokes its subjects.

This covers logging in and out, and the ORM's save() and delete(), with the admin and cascades.
It does not cover QuerySet.update(), bulk_update(), raw SQL, groups and permissions, and whatever
a project's own rules depend on: call revoke() after those.

The caller's login, logout, save or delete never fails because of this: what the log's database
refuses now is written later.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.db import connections, transaction

from eric_sse_django import log
from eric_sse_django.authorization import later
from eric_sse_django.authorization.revocation import KEPT_S, session_kept, withdraw
from eric_sse_django.authorization.subjects import ending_of_session, name_login
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

# Where an object keeps, between the two signals of one save, what was before.
BEFORE = "_eric_sse_before"
# From narrow to wide.
WIDTHS = [
    str(each) for each in (Channel.Access.TICKET, Channel.Access.USERS, Channel.Access.EVERYONE)
]

Handler = Callable[..., None]


def harmless(handler: Handler) -> Handler:
    """Return a signal's handler that logs what it raises, for the caller has no part in it."""

    @functools.wraps(handler)
    def handle(**options: Any) -> None:
        try:
            handler(**options)
        except Exception:
            logger.exception("access could not be compared: use revoke() where it was narrowed")

    return handle


def _end(using: str | None, kept: Mapping[str, float], also: Iterable[str] = ()) -> None:
    """
    Revoke subjects with the caller's transaction on `using` (None: the log's database).

    In that transaction where the log is in the same database, else after its commit.
    """
    also, here = list(also), log.database()
    if not kept and not also:
        return

    def revoke() -> None:
        _try(here, kept, also)

    if using in (None, here):
        revoke()
    else:
        # A function: robust=True does not hold for a partial, of which Django asks the name.
        transaction.on_commit(revoke, using=using, robust=True)


def _try(using: str, kept: Mapping[str, float], also: Sequence[str]) -> None:
    """Revoke subjects; where the database fails, have it done as soon as it does not."""
    if later.later.outage.trouble:
        _put_off(using, kept, also)  # at once: nobody waits for a database that is away
        return
    try:
        withdraw(kept, also)
    except Exception:  # noqa: BLE001 - it is tried again there, and logged
        _put_off(using, kept, also)


def _put_off(using: str, kept: Mapping[str, float], also: Sequence[str]) -> None:
    """
    Have subjects revoked later, after the caller's commit.

    What the caller rolls back has not narrowed anything, and before the commit a client that
    reconnects would get access again.
    """

    def put_off() -> None:
        later.later.withdraw(kept, also)

    if connections[using].in_atomic_block:
        transaction.on_commit(put_off, using=using, robust=True)
    else:
        put_off()


# Sessions -------------------------------------------------------------------------------


@harmless
def on_logged_in(request: Any = None, **_: object) -> None:
    """
    Name the login, in its session. Connected to user_logged_in.

    That is sent by logins with tokens, too, which are to get no session by us.
    """
    session = getattr(request, "session", None)
    if session is not None and SESSION_KEY in session:
        name_login(session)


@harmless
def on_logged_out(request: Any = None, **_: object) -> None:
    """Close the streams of the session that ends. Connected to user_logged_out."""
    session = getattr(request, "session", None)
    if session is not None:
        _end(None, session_kept(ending_of_session(session)))


# Users ----------------------------------------------------------------------------------


@harmless
def before_user_saved(
    instance: Any, raw: bool = False, using: Any = None, update_fields: Any = None, **_: object
) -> None:
    """Note how the user is in the database: one query. Connected to pre_save."""
    instance.__dict__.pop(BEFORE, None)
    is_login = update_fields is not None and set(update_fields) <= {"last_login"}
    if not (raw or is_login or instance._state.adding):
        users = type(instance)._base_manager.using(using)
        setattr(instance, BEFORE, users.filter(pk=instance.pk).first())


@harmless
def on_user_saved(instance: Any, using: Any = None, **_: object) -> None:
    """
    Close the streams of a user who was deactivated, or of the sessions of an old password.

    A user who is no longer staff or superuser reconnects, if the rules allow it. Connected to
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
    _end(using, kept, [subject_of_user(instance)] * is_less)


def _has_lost(flag: str, before: Any, now: Any) -> bool:
    """Whether a user has lost a flag; False where the user model has no such flag."""
    return bool(getattr(before, flag, True)) and not getattr(now, flag, True)


def _auth_hashes(user: Any) -> list[str]:
    """Return what sessions of the user may have as hash of the password, the present first."""
    if not hasattr(user, "get_session_auth_hash"):
        return []
    return [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]


@harmless
def before_user_deleted(instance: Any, origin: Any = None, **_: object) -> None:
    """Connected to pre_delete."""
    note_deletion(instance, origin)


@harmless
def on_user_deleted(instance: Any, origin: Any = None, using: Any = None, **_: object) -> None:
    """Close the streams of users who were deleted, in one go. Connected to post_delete."""
    users = deleted_with(instance, origin)
    _end(using, {subject_of_user(user): KEPT_S for user in users})


# Channels and listeners -----------------------------------------------------------------


def _note(instance: Any, fields: set[str], options: Mapping[str, Any]) -> None:
    """Note what one field (by its names) is in the database, where a save may change it."""
    instance.__dict__.pop(BEFORE, None)
    changed = options.get("update_fields")
    is_left = changed is not None and fields.isdisjoint(changed)
    if not (options.get("raw") or instance._state.adding or is_left):
        rows = type(instance)._base_manager.filter(pk=instance.pk)
        setattr(instance, BEFORE, rows.values_list(*sorted(fields)).first())


@harmless
def before_channel_saved(instance: Channel, **options: Any) -> None:
    """Note who may watch the channel: one query. Connected to pre_save."""
    _note(instance, {"access"}, options)


@harmless
def on_channel_saved(instance: Channel, using: Any = None, **_: object) -> None:
    """End the watchers' streams where fewer may watch than before. Connected to post_save."""
    before = instance.__dict__.pop(BEFORE, None)
    if before is not None and _width(instance.access) < _width(before[0]):
        _end(using, {}, [subject_of_watchers(instance)])


def _width(access: str) -> int:
    return WIDTHS.index(access) if access in WIDTHS else 0


@harmless
def before_channel_deleted(instance: Channel, origin: Any = None, **_: object) -> None:
    """Connected to pre_delete."""
    note_deletion(instance, origin)


@harmless
def on_channel_deleted(
    instance: Channel, origin: Any = None, using: Any = None, **_: object
) -> None:
    """Close the streams of watchers of deleted channels. Connected to post_delete."""
    _end(using, {}, map(subject_of_watchers, deleted_with(instance, origin)))


@harmless
def before_listener_saved(instance: Listener, **options: Any) -> None:
    """Note whose the listener is: one query. Connected to pre_save."""
    _note(instance, {"owner", "owner_id"}, options)


@harmless
def on_listener_saved(instance: Listener, using: Any = None, **_: object) -> None:
    """
    Revoke the access of a listener's owner where it is another's now. Connected to post_save.

    Where it had no owner, its streams only end: then they get the owner's messages.
    """
    before = instance.__dict__.pop(BEFORE, None)
    if before is None or before[0] == instance.owner_id:
        return
    subject = subject_of_listener(instance)
    _end(using, {} if before[0] is None else {subject: KEPT_S}, [subject])
