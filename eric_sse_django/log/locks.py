"""Listeners' rows, locked without waiting for who else has them."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connections

from eric_sse_django.log.alias import database
from eric_sse_django.models import Listener


def lock_free(listeners: Collection[int]) -> set[int]:
    """
    Lock the listeners that nobody else has locked; return the keys of the others.

    In the caller's transaction. Never waits: a request that calls pop() and goes on for long
    would else hold up who has many listeners to write, and two of these might deadlock. None
    are others where the database locks no single rows (SQLite), or is too old to tell.
    """
    using = database()
    features = connections[using].features
    if not listeners or not features.has_select_for_update_skip_locked:
        return set()
    rows = Listener.objects.using(using).filter(pk__in=listeners)
    no_key = features.has_select_for_no_key_update
    locked = rows.select_for_update(skip_locked=True, no_key=no_key)
    others = set(listeners) - set(locked.values_list("pk", flat=True))
    # The second look: a listener that was removed is no longer here, and not to be kept.
    return set(rows.filter(pk__in=others).values_list("pk", flat=True)) if others else set()
