"""Listeners whose state all processes share."""

from __future__ import annotations

from asgiref.sync import sync_to_async

from eric_sse_django.database import operations
from eric_sse_django.database.twins import methods_have_twins
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Listener


@methods_have_twins
class DatabaseListener(MessageQueueListener):
    """
    A listener with a row. Take it from a channel: add_listener() or get_listener().

    start() and stop() are for all processes: its streams, wherever they are, end soon
    after stop(). is_running() is what this object last read or said: see refresh(). Registered
    with another channel, or again after it was removed, it is the listener of that channel's
    row from then on.
    """

    def __init__(self, row: Listener) -> None:
        super().__init__(row.name)
        self.show(row)

    def show(self, row: Listener) -> None:
        """Be the listener of this row, as it was read."""
        self.row = row
        self._running = row.running

    def follow(self, row: Listener) -> None:
        """Be the listener of this row from now on, which then runs or not as this object does."""
        was_running = self._running
        self.show(row)
        if was_running and not row.running:
            self.start()
        elif row.running and not was_running:
            self.stop()

    def start(self) -> None:
        """
        Begin to receive: what waits is delivered, and streams may open. One query, or two.

        Raises InvalidListenerException once the listener is removed.
        """
        if not operations.start([self.row]) and not operations.exists(self.row):
            super().stop()
            raise InvalidListenerException(self.id, self.row.channel.name)
        self.row.running = True
        super().start()

    def stop(self) -> None:
        """End to receive, when the caller's transaction commits; what comes then waits."""
        operations.stop([self.row])
        self.row.running = False
        super().stop()

    def refresh(self) -> None:
        """Read the row again. One query; raises Listener.DoesNotExist once it is removed."""
        fields = ["running", "acknowledgement", "cursor", "floor", "last_seen", "owner"]
        try:
            self.row.refresh_from_db(fields=fields)
        except Listener.DoesNotExist:
            self._running = False
            raise
        self._running = self.row.running

    async def arefresh(self) -> None:
        """As refresh()."""
        await sync_to_async(self.refresh)()

    async def astart(self) -> None:
        """As start()."""
        await sync_to_async(self.start)()

    async def astop(self) -> None:
        """As stop()."""
        await sync_to_async(self.stop)()
