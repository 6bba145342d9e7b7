"""Listeners whose state all processes share."""

from __future__ import annotations

from eric_sse_django.database import operations
from eric_sse_django.database.twins import methods_have_twins, twin_of
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Listener


@methods_have_twins
class DatabaseListener(MessageQueueListener):
    """
    A listener with a row. Get one from a channel: add_listener() or get_listener().

    start() and stop() apply to all processes: after stop() its streams end soon, on every
    server. is_running() is what this object last read or wrote: see refresh(). An object that is
    registered with another channel, or again after it was removed, uses that channel's row from
    then on.
    """

    def __init__(self, row: Listener) -> None:
        super().__init__(row.name)
        self.show(row)

    def show(self, row: Listener) -> None:
        """Use this row, as it was read."""
        self.row = row
        self._running = row.running

    def follow(self, row: Listener) -> None:
        """Use this row from now on, and start or stop it as this object was."""
        was_running = self._running
        self.show(row)
        if was_running and not row.running:
            self.start()
        elif row.running and not was_running:
            self.stop()

    def start(self) -> None:
        """
        Start receiving: waiting messages are delivered, and streams may open. One query or two.

        Raises InvalidListenerException if the listener was removed.
        """
        if not operations.start([self.row]) and not operations.exists(self.row):
            super().stop()
            raise InvalidListenerException(self.id, self.row.channel.name)
        self.row.running = True
        super().start()

    def stop(self) -> None:
        """Stop receiving when the caller's transaction commits; later messages wait."""
        operations.stop([self.row])
        self.row.running = False
        super().stop()

    def refresh(self) -> None:
        """Read the row again. One query; raises Listener.DoesNotExist if it was removed."""
        fields = ["running", "acknowledgement", "cursor", "floor", "last_seen", "owner"]
        try:
            self.row.refresh_from_db(fields=fields)
        except Listener.DoesNotExist:
            self._running = False
            raise
        self._running = self.row.running

    arefresh = twin_of(refresh)
    astart = twin_of(start)
    astop = twin_of(stop)
