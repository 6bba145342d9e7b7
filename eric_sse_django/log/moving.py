"""The messages of a log that moves to another database: with their positions, in pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from eric_sse_django.log.history import identity, make_head
from eric_sse_django.log.sequencer import head, sequence
from eric_sse_django.models import LogHead, QueuedMessage, database

# Messages that are in memory at once.
PAGE_ROWS = 1_000
FIELDS = ("position", "listener_id", "owner_id", "type", "payload", "sender", "uid")
TIMES = ("created_at", "expires_at")


def stored() -> Iterator[dict[str, Any]]:
    """
    Yield the columns of all messages in their order, first giving positions to those without.

    Those that are published meanwhile are not among them. Control messages and notices are: they
    have positions that clients know.
    """
    while sequence():
        pass
    after, upto = 0, head().position
    rows = QueuedMessage.objects.filter(position__lte=upto).order_by("position")
    columns = (*FIELDS, *TIMES, "channel_id", "perishable")
    while page := list(rows.filter(position__gt=after).values(*columns)[:PAGE_ROWS]):
        yield from page
        after = page[-1]["position"]


def top() -> dict[str, int]:
    """Return the columns of the head that a log continues from."""
    found = LogHead.objects.filter(pk=LogHead.THE_ONE).values("position", "trimmed")
    columns: Any = found.first()
    return columns or {"position": 0, "trimmed": 0}


def prepare() -> None:
    """Create the head if there is none, before the transaction that locks it."""
    make_head(database())


def lock() -> None:
    """Let nothing else give positions until the transaction ends."""
    LogHead.objects.filter(pk=LogHead.THE_ONE).update(position=F("position"))


def is_empty() -> bool:
    """Whether the log has no message, and never gave a position."""
    return not QueuedMessage.objects.exists() and not top()["position"]


def store(messages: Iterable[dict[str, Any]]) -> int:
    """Insert messages with the positions that they have; return how many."""
    count, rest = 0, iter(messages)
    while page := list(islice(rest, PAGE_ROWS)):
        QueuedMessage.objects.bulk_create(QueuedMessage(**columns) for columns in page)
        count += len(page)
    return count


def continue_from(position: int, trimmed: int) -> None:
    """Let an empty log continue after a position of the one that moved here."""
    using = database()
    with transaction.atomic(using=using):
        LogHead.objects.update_or_create(
            pk=LogHead.THE_ONE,
            defaults={
                "position": position,
                "trimmed": trimmed,
                "marked": 0,
                "marked_at": timezone.now(),
                "identity": identity(using),
            },
        )
