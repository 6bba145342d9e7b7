"""Rows that are locked without waiting for those that others have locked."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from django.db import connections
from django.db.models import Model

from eric_sse_django.log.dialect import dialect_of
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
    dialect = dialect_of(connections[using])
    if not keys or not dialect.skips_locked:
        return set()
    with dialect.connection.cursor() as cursor:
        cursor.execute(_lock(using, model).format(",".join(map(str, sorted(keys)))))
        others = set(keys) - {row[0] for row in cursor.fetchall()}
    # The second look: a row that was removed is no longer here, and not to be kept.
    rows = model._default_manager.filter(pk__in=others)
    return set(rows.values_list("pk", flat=True)) if others else set()


@lru_cache
def _lock(using: str, model: type[Model]) -> str:
    """Return the SELECT whose keys go to `{}`: as Django's query, 500 take 3 ms of CPU."""
    dialect = dialect_of(connections[using])
    table = dialect.connection.ops.quote_name(model._meta.db_table)
    return f"SELECT id FROM {table} WHERE id IN ({{}}) {dialect.for_update} SKIP LOCKED"
