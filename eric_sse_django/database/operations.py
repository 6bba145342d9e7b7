"""What operators and the app do to many listeners: their state, queues, streams and removal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Least
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.entry import CLOSE, REPLAY, STOP
from eric_sse_django.message import MessageContract
from eric_sse_django.models import Channel, Listener, OpenStream, deleted_with, of_programs

# Time after which a listener is recorded as seen again.
SEEN_AFTER = timedelta(days=1)
# Listeners that are removed, and whose streams are ended, together: what is in memory at once.
REMOVED_AT_ONCE = 1_000


def start(rows: Sequence[Listener]) -> int:
    """Start the listeners; return how many were not running."""
    return _listeners(rows).filter(running=False).update(running=True)


def exists(row: Listener) -> bool:
    """Whether the listener was not removed. One query."""
    return _listeners([row]).exists()


def seen(row: Listener) -> None:
    """Record that listen() was called for the listener, for away(). At most one query a day."""
    now = timezone.now()
    if now - (row.last_seen or row.created_at) > SEEN_AFTER:
        _listeners([row]).update(last_seen=now)


def stop(rows: Sequence[Listener]) -> int:
    """Stop the listeners and end their streams; return how many were running."""
    with transaction.atomic(using=log.database()):
        changed = _listeners(rows).filter(running=True).update(running=False)
        send_control(rows, STOP)
    return changed


def disconnect(rows: Sequence[Listener]) -> int:
    """
    End the listeners' open streams in every process, after the commit.

    Their clients reconnect. Returns how many listeners.
    """
    send_control(rows, CLOSE)
    return len(rows)


def send(
    rows: Sequence[Listener], message: MessageContract, expires_in_s: float | None = None
) -> int:
    """
    Publish to each of the listeners, in the caller's transaction; return how many.

    It is delivered for `expires_in_s` seconds; None: as long as the channel states. All or
    none: raises InvalidMessageFormat for a message that cannot be sent. Select the rows'
    channels with them: else each takes a query.
    """
    if rows:
        notifier.publish(log.copies(rows, message, expires_in_s))
    return len(rows)


def discard(rows: Sequence[Listener]) -> int:
    """
    Skip what waits for the listeners; return how many had not reached the log's head.

    The messages stay for other listeners. Open streams still send what they have read.
    """
    notifier.settle()
    head, _ = log.head()
    return _listeners(rows).filter(cursor__lt=head).update(cursor=head)


def replay(rows: Sequence[Listener], since: datetime) -> int:
    """
    Deliver again to the listeners what was published since; return how many listeners.

    The positions are the same, so that clients recognise the messages. What was published
    before a listener was added is never delivered. Open streams move back after the commit,
    other clients when they connect.
    """
    position = log.position_at(since)
    with transaction.atomic(using=log.database()):
        for row in rows:
            back = max(position, row.start)
            moved = _listeners([row])
            # Counted also if its cursor is lower: what was reached is not written yet.
            moved.update(cursor=Least("cursor", Value(back)), replays=F("replays") + 1)
            for replays in moved.values_list("replays", flat=True):
                notifier.publish([log.control(row, REPLAY, str(back), str(replays))])
    return len(rows)


def send_control(rows: Sequence[Listener], control: str) -> None:
    """
    Send a control message to the listeners' open streams in every process. One INSERT.

    It is in the log: after what was published before it, and before what is published after.
    """
    if rows:
        notifier.publish([log.control(row, control) for row in rows])


def _listeners(rows: Sequence[Listener]) -> QuerySet[Listener]:
    return Listener.objects.filter(pk__in=[row.pk for row in rows])


# Removing -----------------------------------------------------------------------


def away(since: datetime, channel_id: str | None = None) -> QuerySet[Listener]:
    """
    Return the listeners, of one channel or of all, that were offline since a time.

    These were created before that time, have no open stream, and since then nothing was
    delivered to them and listen() was not called for them. Those of runs and webhooks, which are
    removed with these, are never among them.
    """
    online = OpenStream.objects.online().exclude(listener=None).values("listener")
    rows = Listener.objects.filter(created_at__lt=since)
    rows = rows.filter(Q(last_seen=None) | Q(last_seen__lt=since)).exclude(pk__in=online)
    rows = rows.exclude(of_programs())
    return rows if channel_id is None else rows.filter(channel__name=channel_id)


def remove_listeners(rows: QuerySet[Listener]) -> int:
    """Remove listeners, REMOVED_AT_ONCE in one transaction; their streams end. Return how many."""
    count = 0
    ordered = rows.order_by("pk").values_list("pk", flat=True)
    while keys := list(ordered[:REMOVED_AT_ONCE]):
        with transaction.atomic(using=log.database()):
            Listener.objects.filter(pk__in=keys).delete()
        count += len(keys)
    return count


def remove_channel(row: Channel) -> None:
    """
    Remove a channel with its listeners; their streams end. Holds REMOVED_AT_ONCE rows at most.

    Its messages are removed after the commit: see on_channel_deleted(). About 0.1 ms a listener.
    """
    with transaction.atomic(using=log.database()):
        remove_listeners(Listener.objects.filter(channel=row))
        row.delete()


def on_listener_deleted(instance: Listener, origin: object = None, **_: object) -> None:
    """End the streams of deleted listeners, with one INSERT. Connected to post_delete."""
    send_control(deleted_with(instance, origin), STOP)


def on_channel_deleted(instance: Channel, **_: object) -> None:
    """
    Remove a deleted channel's messages after the commit. Connected to post_delete.

    Not in its transaction: one statement for a million rows holds locks that publishers to
    other channels wait for (MariaDB). Retention removes what is left after a crash.
    """
    channel = instance.pk
    transaction.on_commit(lambda: log.forget(channel), using=log.database(), robust=True)
