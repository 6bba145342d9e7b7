"""Connections whose queues are in the database."""

from __future__ import annotations

from contextlib import suppress

from asgiref.sync import sync_to_async

from eric_sse_django.connection import Connection, ConnectionsFactory
from eric_sse_django.database.listener import DatabaseListener
from eric_sse_django.database.queue import DatabaseQueue
from eric_sse_django.database.rows import create_listener, get_or_create_channel, listener_row
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Channel, Listener


class DatabaseConnectionsFactory(ConnectionsFactory):
    """
    Gives listeners durable queues, also in a plain SSEChannel.

    They are listeners of the database channel `channel_id`, which is created if it is missing.
    """

    def __init__(self, channel_id: str) -> None:
        self.channel: Channel = get_or_create_channel(channel_id)

    def create(self, listener: MessageQueueListener | None = None) -> Connection:
        """
        Return the connection of `listener`, or of a new one.

        A listener whose id exists in the database gets its queue, with the waiting messages.
        Raises InvalidIdentifier for an id that cannot stand in a URL.
        """
        if listener is None:
            return connect(create_listener(self.channel))
        return connect(register(self.channel, listener), listener)

    async def acreate(self, listener: MessageQueueListener | None = None) -> Connection:
        """As create()."""
        return await sync_to_async(self.create)(listener)

    def renew(self, connection: Connection, listener: MessageQueueListener) -> Connection:
        """As the base class; a DatabaseListener becomes a listener of this factory's channel."""
        if isinstance(listener, DatabaseListener):
            register(self.channel, listener)
        return super().renew(connection, listener)

    def release(self, connection: Connection) -> None:
        """Remove the listener's row with its queue, also if the connection has another queue."""
        with suppress(InvalidListenerException):
            listener_row(self.channel, connection.listener.id).delete()

    async def arelease(self, connection: Connection) -> None:
        """As release()."""
        await sync_to_async(self.release)(connection)


def register(channel: Channel, listener: MessageQueueListener) -> Listener:
    """
    Return the row of a listener object in a channel: the existing row of its id, or a new one.

    A DatabaseListener uses that row from then on.
    """
    row = create_listener(channel, listener.id, running=listener.is_running())
    if isinstance(listener, DatabaseListener):
        listener.follow(row)
    return row


def connect(row: Listener, listener: MessageQueueListener | None = None) -> Connection:
    """Return the connection of a row, with `listener` or a new DatabaseListener."""
    if isinstance(listener, DatabaseListener) and listener.row == row:
        listener.show(row)  # unless it was registered with another channel since
    return Connection(listener or DatabaseListener(row), DatabaseQueue(row), str(row.pk))
