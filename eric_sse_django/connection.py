"""Connections: a listener with its queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import uuid4

from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.queues import InMemoryQueue, Queue


class Connection:
    """
    A listener and the queue its messages wait in.

    Its id is `connection_id`, or a new uuid4 as text when that is not given.
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
        """Who receives."""
        return self._listener

    @property
    def queue(self) -> Queue:
        """Where the listener's messages wait."""
        return self._queue

    @property
    def id(self) -> str:
        """What tells this connection from every other."""
        return self._id


class ConnectionsFactory(ABC):
    """Decides what queue a channel's listeners get."""

    @abstractmethod
    def create(self, listener: MessageQueueListener | None = None) -> Connection:
        """Return a new connection of `listener`, or of a new listener when None is given."""

    async def acreate(self, listener: MessageQueueListener | None = None) -> Connection:
        """
        As create(), for a coroutine.

        This is create() itself; a factory that does I/O overrides it, as Queue.apop().
        """
        return self.create(listener)

    def renew(self, connection: Connection, listener: MessageQueueListener) -> Connection:
        """Return the connection of a listener that is registered again: with the queue it has."""
        return Connection(listener, connection.queue, connection.id)

    def release(self, connection: Connection) -> None:  # noqa: B027 - most have nothing to do
        """
        Give up what was made for a connection that has left its channel; does nothing here.

        A channel calls it when a listener is removed, with the connection that it has then:
        that may be one that this factory did not make. What it raises, remove_listener()
        raises, and the listener stays registered.
        """

    async def arelease(self, connection: Connection) -> None:
        """As release(), for a coroutine; a factory that does I/O overrides it, as acreate()."""
        self.release(connection)


class InMemoryConnectionsFactory(ConnectionsFactory):
    """Gives each listener a queue in this process's memory."""

    def create(self, listener: MessageQueueListener | None = None) -> Connection:
        """Return a new connection whose queue is an InMemoryQueue."""
        return Connection(listener or MessageQueueListener(), InMemoryQueue())
