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
    Gives listeners durable queues; also in a plain SSEChannel.

    The listeners are those of one database channel: `channel_id`, made when it is not
    there yet.
    """

    def __init__(self, channel_id: str) -> None:
        self.channel: Channel = get_or_create_channel(channel_id)

    def create(self, listener: MessageQueueListener | None = None) -> Connection:
        """
        Return the connection of `listener`, or of a new one.

        A listener whose id the database knows gets its queue back, with what waits.
        Raises InvalidIdentifier for an id that could not stand in a URL.
        """
        if listener is None:
            return connect(create_listener(self.channel))
        return connect(register(self.channel, listener), listener)

    async def acreate(self, listener: MessageQueueListener | None = None) -> Connection:
        """As create()."""
        return await sync_to_async(self.create)(listener)

    def renew(self, connection: Connection, listener: MessageQueueListener) -> Connection:
        """As the base's; a DatabaseListener is the one of this factory's channel again."""
        if isinstance(listener, DatabaseListener):
            register(self.channel, listener)
        return super().renew(connection, listener)

    def release(self, connection: Connection) -> None:
        """Remove the listener's row and queue, whatever queue the connection has."""
        with suppress(InvalidListenerException):
            listener_row(self.channel, connection.listener.id).delete()

    async def arelease(self, connection: Connection) -> None:
        """As release()."""
        await sync_to_async(self.release)(connection)


def register(channel: Channel, listener: MessageQueueListener) -> Listener:
    """
    Return the row of a listener object in a channel: the one that its id has, or a new one.

    A DatabaseListener follows: it is that row's from then on.
    """
    row = create_listener(channel, listener.id, running=listener.is_running())
    if isinstance(listener, DatabaseListener):
        listener.follow(row)
    return row


def connect(row: Listener, listener: MessageQueueListener | None = None) -> Connection:
    """Return the connection of a row; its listener is `listener`, else the row's own."""
    if isinstance(listener, DatabaseListener) and listener.row == row:
        listener.show(row)  # else it was registered with another channel since
    return Connection(listener or DatabaseListener(row), DatabaseQueue(row), str(row.pk))
