"""Connections: a listener with its queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import uuid4

from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.queues import InMemoryQueue, Queue


class Connection:
    """
    A listener and the queue of its messages.

    Its id is `connection_id`, or a new uuid4 as text if that is not given.
    """

    def __init__(
        self,
        listener: MessageQueueListener,
        queue: Queue,
        connection_id: str | None = None,
    ) -> None:
        self._listener = listener
        self._queue = queue
        self._id = connection_id or str(uuid4())

    @property
    def listener(self) -> MessageQueueListener:
        """The listener."""
        return self._listener

    @property
    def queue(self) -> Queue:
        """The queue of the listener's messages."""
        return self._queue

    @property
    def id(self) -> str:
        """The unique id of this connection."""
        return self._id


class ConnectionsFactory(ABC):
    """Creates the connections of a channel's listeners, with their queues."""

    @abstractmethod
    def create(self, listener: MessageQueueListener | None = None) -> Connection:
        """Return a new connection of `listener`, or of a new listener if it is None."""

    async def acreate(self, listener: MessageQueueListener | None = None) -> Connection:
        """
        As create(), for a coroutine.

        It calls create(); a factory that does I/O overrides it, as Queue.apop().
        """
        return self.create(listener)

    def renew(self, connection: Connection, listener: MessageQueueListener) -> Connection:
        """Return the connection of a listener that is registered again, with the same queue."""
        return Connection(listener, connection.queue, connection.id)

    def release(self, connection: Connection) -> None:  # noqa: B027 - most factories have nothing to release
        """
        Release what was created for a connection that its channel removes; does nothing here.

        A channel calls it when a listener is removed, with the listener's connection, which
        another factory may have created. remove_listener() raises what it raises, and then the
        listener stays registered.
        """

    async def arelease(self, connection: Connection) -> None:
        """As release(), for a coroutine; a factory that does I/O overrides it, as acreate()."""
        self.release(connection)


class InMemoryConnectionsFactory(ConnectionsFactory):
    """Gives each listener a queue in the memory of this process."""

    def create(self, listener: MessageQueueListener | None = None) -> Connection:
        """Return a new connection whose queue is an InMemoryQueue."""
        return Connection(listener or MessageQueueListener(), InMemoryQueue())
