"""Which listeners have joined and left, over all processes: on a hub's database thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.dispatch import Signal
from django.utils import timezone

from eric_sse_django.log import database
from eric_sse_django.models import Listener, PresentListener, with_user
from eric_sse_django.signals import GRACE_S, listener_joined, listener_left

# Rows in one statement, and that leave in one round: the others do so in the next.
BATCH = 200
MOST_LEAVING = 1_000

# A signal, and the listener that it is about.
Change = tuple[Signal, Listener]


def joined(process: int, listeners: Collection[int]) -> Iterator[Change]:
    """
    Note that streams of these are open; yield those that no other process has noted before.

    Two processes may do this at once: one inserts the row, and that one yields it.
    """
    keys = sorted(set(listeners))
    for some in (keys[first : first + BATCH] for first in range(0, len(keys), BATCH)):
        rows, now = _rows(), timezone.now()
        known = dict(rows.filter(pk__in=some).values_list("pk", "missing_since"))
        again = [key for key, missing_since in known.items() if missing_since is not None]
        if again:
            rows.filter(pk__in=again).update(missing_since=None)
        new = [key for key in some if key not in known]
        if new:
            made = [PresentListener(pk=key, process=process, since=now) for key in new]
            rows.bulk_create(made, ignore_conflicts=True)
            own = rows.filter(pk__in=new, process=process, since=now)
            yield from _changes(listener_joined, own.values_list("pk", flat=True))


def note_missing(listeners: Collection[int] | None = None) -> None:
    """Note those of these that have no stream any more; None: of all, and those that do."""
    rows = _rows()
    if listeners is None:
        rows.filter(missing_since__isnull=False).with_stream().update(missing_since=None)
        rows = rows.filter(missing_since=None).without_stream()
        rows.update(missing_since=timezone.now())
        return
    keys = sorted(set(listeners))
    for some in (keys[first : first + BATCH] for first in range(0, len(keys), BATCH)):
        missing = rows.filter(pk__in=some, missing_since=None).without_stream()
        missing.update(missing_since=timezone.now())


def left() -> Iterator[Change]:
    """Yield those that have been missing for GRACE_S, MOST_LEAVING at most, and forget them."""
    using = database()
    before = timezone.now() - timedelta(seconds=GRACE_S)
    with transaction.atomic(using=using):
        due = _rows().filter(missing_since__lte=before).without_stream()
        if connections[using].features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        keys = list(due.values_list("pk", flat=True)[:MOST_LEAVING])
        for first in range(0, len(keys), BATCH):
            _rows().filter(pk__in=keys[first : first + BATCH]).delete()
    yield from _changes(listener_left, keys)


def _rows() -> Any:
    return PresentListener.objects


def _changes(signal: Signal, keys: Iterable[int]) -> Iterator[Change]:
    found = Listener.objects.filter(pk__in=list(keys))
    for listener in with_user(found.select_related("channel"), "owner"):
        yield signal, listener
