"""Acknowledging: when a listener's messages count as served, and up to which position."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.models import Listener


def check_acknowledgement(value: Any) -> None:
    """Raise ValueError for a value that is not None or one of Listener.Acknowledgement."""
    known = Listener.Acknowledgement.values
    if value is not None and value not in known:
        names = " or ".join(map(repr, known))
        raise ValueError(f"acknowledgement is {value!r}: give {names}, or None.")


def change_acknowledgement(row: Listener, value: str | None) -> None:
    """Set when the listener's messages count as served; None: unchanged. One query, or none."""
    if value not in (None, row.acknowledgement):
        row.acknowledgement = str(value)
        row.save(update_fields=["acknowledgement"])


def acknowledge(row: Listener, position: int, replays: int | None = None) -> int:
    """
    Move the listener's cursor up to a position; return the cursor.

    It never moves back, nor to a position that the log does not have: above its head, or of a
    history that it no longer has. With `replays`, the number that the listener had when the
    messages were read, it does not move either if an operator has replayed since. Two queries,
    three if the cursor is not moved. Raises InvalidListenerException if the listener was removed.
    """
    listeners = Listener.objects.filter(pk=row.pk)
    if log.is_known(position):
        behind = listeners.filter(cursor__lt=position)
        if replays is not None:
            behind = behind.filter(replays=replays)
        if behind.update(cursor=position, last_seen=timezone.now()):
            return position
    cursor = listeners.values_list("cursor", flat=True).first()
    if cursor is None:
        raise InvalidListenerException(row.name, row.channel.name)
    return cursor
