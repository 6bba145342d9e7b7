"""What an operator does to listeners: for their queues, and for their streams on every process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Least
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.entry import CLOSE, REPLAY, STOP
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.message import MessageContract
from eric_sse_django.models import Listener

# A listener whose owner opened a page within that time is not written as seen again.
SEEN_AFTER = timedelta(days=1)


def start(rows: Sequence[Listener]) -> int:
    """Have the listeners receive; return how many did not before."""
    return _listeners(rows).filter(running=False).update(running=True)


def exists(row: Listener) -> bool:
    """Whether the listener was not removed. One query."""
    return _listeners([row]).exists()


def seen(row: Listener) -> None:
    """Record that somebody asks for the listener. One query a day, for who is removed as away."""
    now = timezone.now()
    if now - (row.last_seen or row.created_at) > SEEN_AFTER:
        _listeners([row]).update(last_seen=now)


def stop(rows: Sequence[Listener]) -> int:
    """Stop the listeners, and end their streams; return how many did before."""
    with transaction.atomic(using=log.database()):
        changed = _listeners(rows).filter(running=True).update(running=False)
        tell(rows, STOP)
    return changed


def disconnect(rows: Sequence[Listener]) -> int:
    """
    Have the listeners' open streams end, on every process, after the commit.

    Clients that reconnect, as browsers do, come back. Returns how many listeners.
    """
    tell(rows, CLOSE)
    return len(rows)


def send(
    rows: Sequence[Listener], message: MessageContract, expires_in_s: float | None = None
) -> int:
    """
    Publish to each of the listeners, in the caller's transaction; return how many.

    After `expires_in_s` seconds it is delivered to nobody any more; None: as the channel says.
    All or none: raises InvalidMessageFormat for what cannot be sent. The rows'
    channels should be selected with them, else each costs a query.
    """
    if rows:
        log.append([log.row(row.channel, message, row.pk, None, expires_in_s) for row in rows])
        notifier.ring_on_commit()
    return len(rows)


def acknowledge(row: Listener, position: int) -> int:
    """
    Move the listener's cursor up to a position; return where it stands.

    Never back, and not to a position that the log does not have: beyond its head, or of a
    history that it no longer has. Two queries, three where it stands there already or further.
    Raises InvalidListenerException when the listener was removed.
    """
    if log.is_known(position):
        ahead = _listeners([row]).filter(cursor__lt=position)
        if ahead.update(cursor=position, last_seen=timezone.now()):
            return position
    cursors = _listeners([row]).values_list("cursor", flat=True)
    if (cursor := cursors.first()) is None:
        raise InvalidListenerException(row.name, row.channel.name)
    return cursor


def discard(rows: Sequence[Listener]) -> int:
    """
    Have the listeners skip what waits; return how many had not reached the log's head.

    The messages stay for other listeners. Open streams have no part in it: what they
    were to send is sent.
    """
    notifier.settle()
    head, _ = log.head()
    return _listeners(rows).filter(cursor__lt=head).update(cursor=head)


def replay(rows: Sequence[Listener], since: datetime) -> int:
    """
    Have the listeners get again what was published since; return how many listeners.

    With the same positions, so that clients can tell; never what came before a listener
    was added. Open streams go back after the commit, other clients when they come.
    """
    position = log.position_at(since)
    with transaction.atomic(using=log.database()):
        for row in rows:
            back = max(position, row.start)
            moved = _listeners([row])
            # Counted also where it stands further back: what was reached is not written yet.
            moved.update(cursor=Least("cursor", Value(back)), replays=F("replays") + 1)
            for replays in moved.values_list("replays", flat=True):
                log.append([log.control(row, REPLAY, str(back), str(replays))])
                notifier.ring_on_commit()
    return len(rows)


def _listeners(rows: Sequence[Listener]) -> QuerySet[Listener]:
    return Listener.objects.filter(pk__in=[row.pk for row in rows])


def tell(rows: Sequence[Listener], control: str, payload: str = "null") -> None:
    """
    Say something to the listeners' open streams, on every process.

    The word travels in the log: it comes after what was published before it, and
    before what is published after.
    """
    if rows:
        log.append([log.control(row, control, payload) for row in rows])
        notifier.ring_on_commit()
