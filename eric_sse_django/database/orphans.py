"""Rows of removed users, which are in another database than the app's tables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import Error as DatabaseError
from django.db import connections, transaction

from eric_sse_django import log
from eric_sse_django.database.operations import REMOVED_AT_ONCE, remove_listeners
from eric_sse_django.models import ApiToken, Listener, PublishReceipt
from eric_sse_django.outage import Outage
from eric_sse_django.retry_thread import RetryThread

logger = logging.getLogger(__name__)

# Seconds for which a process tries again, if the log's database is unavailable when users are
# deleted. What is left after that is removed by the next `manage.py eric_trim`.
TRIES_S = 600.0

_OWNED = ((Listener, "owner_id"), (ApiToken, "user_id"), (PublishReceipt, "user_id"))


class _Removal:
    """Called after the commit that deletes users, with the keys of all of them."""

    def __init__(self, key: Any) -> None:
        self.keys = [key]
        self.__qualname__ = "remove_soon"  # Django logs it if it fails

    def __call__(self) -> None:
        remove_soon(self.keys)


def on_user_deleted(instance: Any, using: str, **signal: object) -> None:
    """
    Remove the listeners, tokens and receipts of a deleted user. Connected to post_delete.

    After the commit, because they are in another database, and once for all users of the
    transaction; in one database remove_with_user() removes them in the same transaction. Never
    raises errors of the log's database.
    """
    if using == log.database():
        return
    for _, hook, *_ in connections[using].run_on_commit:
        if isinstance(hook, _Removal):
            hook.keys.append(instance.pk)
            return
    transaction.on_commit(_Removal(instance.pk), using=using, robust=True)


def remove_soon(keys: Sequence[Any]) -> None:
    """Remove what deleted users owned: now, or on a thread once the database is available."""
    try:
        remove_left_by(keys)
    except DatabaseError:
        retries.add(dict.fromkeys(keys, 0.0))


def remove_left_by(keys: Iterable[Any]) -> int:
    """
    Remove what the deleted users of these keys owned; return how many rows.

    The streams of the listeners end. REMOVED_AT_ONCE users together, by four statements or more.
    """
    users, removed, left = get_user_model()._base_manager, 0, list(keys)
    while left:
        batch, left = left[:REMOVED_AT_ONCE], left[REMOVED_AT_ONCE:]
        # A rollback to a savepoint may have restored some users.
        gone = set(batch) - set(users.filter(pk__in=batch).values_list("pk", flat=True))
        removed += remove_listeners(Listener.objects.filter(owner_id__in=gone))
        removed += ApiToken.objects.filter(user_id__in=gone).delete()[0]
        removed += PublishReceipt.objects.filter(user_id__in=gone).delete()[0]
    return removed


def remove_orphans() -> int:
    """
    Remove what deleted users owned, also users that other programs deleted; return how many.

    For `manage.py eric_trim`: checks all owners, REMOVED_AT_ONCE at a time. No database constraint
    removes the rows of a user that another program deletes.
    """
    return sum(map(remove_left_by, _owners()))


def _owners() -> Iterable[list[Any]]:
    """Yield the keys of users that own something, REMOVED_AT_ONCE at a time."""
    for model, column in _OWNED:
        rows = model.objects.filter(**{f"{column}__isnull": False}).order_by(column)
        keys = list(rows.values_list(column, flat=True).distinct()[:REMOVED_AT_ONCE])
        while keys:
            yield keys
            keys = list(
                rows.filter(**{f"{column}__gt": keys[-1]})
                .values_list(column, flat=True)
                .distinct()[:REMOVED_AT_ONCE]
            )


def _remove_each(keys: Iterable[Any]) -> None:
    """Remove what each user left, also if a receiver of the project fails for another one."""
    failed: Exception | None = None
    for key in keys:
        try:
            remove_left_by([key])
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - raised below, once the others are removed
            failed = failed or error
    if failed is not None:
        raise failed


retries: RetryThread[Any] = RetryThread(
    "eric-sse-orphans",
    _remove_each,
    lambda: Outage(logger, "removing what deleted users owned"),
    give_up_s=TRIES_S,
    otherwise="run eric_trim when the database is available",
)
