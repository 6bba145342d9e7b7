"""Listeners whose state all processes share."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import transaction

from eric_sse_django import log, notifier
from eric_sse_django.entry import STOP
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Listener


class DatabaseListener(MessageQueueListener):
    """
    A listener with a row. Take it from a channel: add_listener() or get_listener().

    start() and stop() are for all processes: its streams, wherever they are, end soon
    after stop(). is_running() is what this object last read or said: see refresh().
    """

    def __init__(self, row: Listener) -> None:
        super().__init__(row.name)
        self.row = row
        self._running = row.running

    def start(self) -> None:
        """Begin to receive: what waits is delivered, and streams may open. One query."""
        self._set(True)
        super().start()

    def stop(self) -> None:
        """End to receive, when the caller's transaction commits; what comes then waits."""
        self._set(False)
        super().stop()

    def refresh(self) -> None:
        """Read the row again. One query; raises Listener.DoesNotExist once it is removed."""
        self.row.refresh_from_db(fields=["running", "cursor", "floor", "last_seen", "owner"])
        self._running = self.row.running

    async def astart(self) -> None:
        """As start()."""
        await sync_to_async(self.start)()

    async def astop(self) -> None:
        """As stop()."""
        await sync_to_async(self.stop)()

    def _set(self, running: bool) -> None:
        using = log.database()
        with transaction.atomic(using=using):
            Listener.objects.using(using).filter(pk=self.row.pk).update(running=running)
            if not running:
                end_streams(self.row)
        self.row.running = running


def end_streams(row: Listener) -> None:
    """
    Have the listener's open streams end, on every process, after the commit.

    The word travels in the log: it comes after what was published before it, and
    nothing published after it is sent.
    """
    log.append([log.control(row.channel, STOP, row.pk)])
    notifier.ring_on_commit()
