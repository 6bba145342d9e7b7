"""One pass of the command: which offline listeners have waiting messages, and the signal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.contrib.undelivered.models import Absence
from eric_sse_django.contrib.undelivered.signals import MAX_MESSAGES, undelivered
from eric_sse_django.database.events import message_of
from eric_sse_django.entry import CONTROLS, RESET, Entry
from eric_sse_django.log import Recipient
from eric_sse_django.models import Listener, OpenStream, of_programs, with_user

logger = logging.getLogger(__name__)

# Listeners that are read together.
BATCH = 500


def notify(after: timedelta, channel_id: str | None = None) -> int:
    """
    Send the signal for the listeners, of one channel or of all, with older messages than `after`.

    Returns for how many. Several processes may do this at the same time: each signal is sent by
    one. A few queries for each listener that is found: 1 ms on SQLite, 3 to 4 ms on others.
    """
    notifier.settle()
    upto = log.position_at(timezone.now() - after)
    return sum(_notify(listener, upto) for listener in _behind(upto, channel_id))


def _behind(upto: int, channel_id: str | None) -> Iterator[Listener]:
    """Yield the running listeners that have no stream, and were not notified of in this state."""
    known = Absence.objects.filter(
        listener=OuterRef("pk"), cursor=OuterRef("cursor"), notified_at__isnull=False
    )
    online = OpenStream.objects.online().filter(listener=OuterRef("pk"))
    rows = Listener.objects.filter(running=True, cursor__lt=upto)
    rows = rows.exclude(Exists(known)).exclude(Exists(online)).exclude(of_programs())
    if channel_id is not None:
        rows = rows.filter(channel__name=channel_id)
    last = 0
    while batch := _batch(rows.filter(pk__gt=last)):
        yield from batch
        last = batch[-1].pk


def _batch(rows: QuerySet[Listener]) -> list[Listener]:
    return list(with_user(rows.select_related("channel"), "owner").order_by("pk")[:BATCH])


def _notify(listener: Listener, upto: int) -> int:
    """Send the signal, if messages up to a position wait for the listener; return how many."""
    entries = _waiting(listener, upto)
    if not entries or listener.is_online or not _claim(listener, timezone.now()):
        return 0
    answers = undelivered.send_robust(
        Listener,
        listener=listener,
        messages=[message_of(entry) for entry in entries[:MAX_MESSAGES]],
        has_more=len(entries) > MAX_MESSAGES,
        since=entries[0].created_at,
    )
    failed = [(receiver, error) for receiver, error in answers if isinstance(error, Exception)]
    for receiver, error in failed:
        logger.error(
            "a receiver of undelivered messages failed receiver=%r listener=%r",
            *(receiver, listener.name),
            exc_info=error,
        )
    if failed and len(failed) == len(answers):
        _own(listener).update(notified_at=None)
        return 0
    return 1


def _waiting(listener: Listener, upto: int) -> list[Entry]:
    """Return the first messages up to a position, and one more than a signal has."""
    found, after = list[Entry](), listener.cursor
    while after < upto and len(found) <= MAX_MESSAGES:
        page = log.read([Recipient.of(listener, after)], upto, MAX_MESSAGES + 1)
        found += [entry for entry in page if entry.type not in CONTROLS | {RESET}]
        after = page.reached
    return found


def _claim(listener: Listener, now: datetime) -> bool:
    """Record that the signal is sent; return whether no other process has done that."""
    state = {"cursor": listener.cursor, "notified_at": now}
    _, is_new = Absence.objects.get_or_create(listener_id=listener.pk, defaults=state)
    if is_new:
        return True
    earlier = Absence.objects.filter(listener=listener).exclude(
        cursor=listener.cursor, notified_at__isnull=False
    )
    return bool(earlier.update(**state))


def _own(listener: Listener) -> QuerySet[Absence]:
    return Absence.objects.filter(listener=listener, cursor=listener.cursor)
