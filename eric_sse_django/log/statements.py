"""
What is said to the database for each message, as text that is made once.

Django's query language takes several times as long to say these as the databases to do
them: 1,100 µs of CPU to sequence one row on SQLite, of which 130 µs are the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from django.db import connections

from eric_sse_django.log.order import while_pending
from eric_sse_django.models import LogHead, QueuedMessage


@dataclass(frozen=True)
class Statements:
    """Of one database. `{}` in `give` is the place of the ids; `lock` reads the head last."""

    waits: str
    head: str
    lock: tuple[str, ...]
    pending: str
    give: str
    move: str


@lru_cache
def statements(using: str, most: int) -> Statements:
    """Return a database's statements; `most` rows at once are pending to them."""
    quote = connections[using].ops.quote_name
    log, heads = (quote(model._meta.db_table) for model in (QueuedMessage, LogHead))
    one = f"WHERE id = {LogHead.THE_ONE}"
    waits = f"SELECT 1 FROM {log} WHERE position IS NULL LIMIT 1"
    return Statements(
        waits=waits,
        head=f"SELECT position, EXISTS({waits}) FROM {heads} {one}",
        lock=_lock(using, heads, one),
        pending=(
            f"SELECT id FROM {log} WHERE position IS NULL "
            f"ORDER BY {', '.join(while_pending())} LIMIT {most}"
        ),
        give=f"UPDATE {log} SET position = id + %s WHERE id IN ({{}})",
        move=f"UPDATE {heads} SET position = %s {one}",
    )


def _lock(using: str, heads: str, one: str) -> tuple[str, ...]:
    features = connections[using].features
    read = f"SELECT position FROM {heads} {one}"
    if not features.has_select_for_update:
        # SQLite: to write first takes the write lock, also in a deferred transaction.
        return f"UPDATE {heads} SET position = position {one}", read
    no_key = "NO KEY " if features.has_select_for_no_key_update else ""
    return (f"{read} FOR {no_key}UPDATE",)
