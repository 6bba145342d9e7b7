"""Rows that are locked without waiting for who else has them, and other locks with a bound."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache

from django.db import DatabaseError, connections, transaction
from django.db.models import Model

from eric_sse_django.models import Channel, Listener, database


def lock_free(listeners: Collection[int]) -> set[int]:
    """
    Lock the listeners that nobody else has locked; return the keys of the others.

    In the caller's transaction. Never waits: a request that calls pop() and goes on for long
    would else hold up who has many listeners to write, and two of these might deadlock. None
    are others where the database locks no single rows (SQLite), or is too old to tell.
    """
    return _lock_free(Listener, listeners)


def lock_free_channels(channels: Collection[int]) -> set[int]:
    """As lock_free(): on MariaDB a transaction that has added a listener locks its channel."""
    return _lock_free(Channel, channels)


def _lock_free(model: type[Model], keys: Collection[int]) -> set[int]:
    using = database()
    connection = connections[using]
    if not keys or not connection.features.has_select_for_update_skip_locked:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_lock(using, model).format(",".join(map(str, sorted(keys)))))
        others = set(keys) - {row[0] for row in cursor.fetchall()}
    # The second look: a row that was removed is no longer here, and not to be kept.
    rows = model._default_manager.filter(pk__in=others)
    return set(rows.values_list("pk", flat=True)) if others else set()


@lru_cache
def _lock(using: str, model: type[Model]) -> str:
    """Return the SELECT whose keys go to `{}`: as Django's query, 500 take 3 ms of CPU."""
    connection = connections[using]
    no_key = "NO KEY " if connection.features.has_select_for_no_key_update else ""
    table = connection.ops.quote_name(model._meta.db_table)
    return f"SELECT id FROM {table} WHERE id IN ({{}}) FOR {no_key}UPDATE SKIP LOCKED"


@contextmanager
def impatient_transaction(using: str, seconds: int) -> Iterator[None]:
    """
    Give a transaction whose statements wait for locks no longer than `seconds`.

    They then raise OperationalError. SQLite has its `timeout` from the settings.
    """
    connection = connections[using]
    before = None
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            (before,) = cursor.fetchone()
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {seconds}")
    try:
        with transaction.atomic(using=using):
            if connection.vendor == "postgresql":
                # LOCAL: also behind a pooler it ends with the transaction.
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{seconds}s'")
            yield
    finally:
        if before is not None:
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {int(before)}")
