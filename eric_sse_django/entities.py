"""Channels: what messages are published to."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from functools import partial
from threading import Lock
from typing import Any
from uuid import uuid4

from eric_sse_django.alarm import Alarm
from eric_sse_django.backoff import Backoff
from eric_sse_django.connection import (
    Connection,
    ConnectionsFactory,
    InMemoryConnectionsFactory,
)
from eric_sse_django.exception import InvalidListenerException, NoMessagesException
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import Message, MessageContract
from eric_sse_django.queues import Queue

logger = logging.getLogger(__name__)

# The type of the message by which a stream tells its client that something is wrong.
MESSAGE_TYPE_ERROR = "error"


class AbstractChannel(ABC):
    """
    Keeps listeners with their queues, publishes to them and streams to their clients.

    `stream_delay_seconds` is the least time between two messages of one stream. Its id is
    `channel_id`, or a new uuid4 as text when that is None. New listeners get their queue
    from `connections_factory`, in memory when that is None.

    Safe in all threads and on several event loops at once.
    """

    def __init__(
        self,
        stream_delay_seconds: float = 0,
        channel_id: str | None = None,
        connections_factory: ConnectionsFactory | None = None,
    ) -> None:
        self.stream_delay_seconds = stream_delay_seconds
        self._id = str(uuid4()) if channel_id is None else channel_id
        self._connections_factory = connections_factory or InMemoryConnectionsFactory()
        self._connections: dict[str, Connection] = {}
        self._connections_lock = Lock()

    @property
    def id(self) -> str:
        """What tells this channel from every other."""
        return self._id

    @abstractmethod
    def adapt(self, msg: MessageContract) -> Any:
        """Return what a stream yields for `msg`."""

    def add_listener(self) -> MessageQueueListener:
        """Return a new registered listener; it receives from its start() on."""
        connection = self._connections_factory.create()
        self.register_connection(connection)
        return connection.listener

    def register_listener(self, listener: MessageQueueListener) -> None:
        """Register a listener; one that is registered already keeps its queue."""
        try:
            known = self._connection(listener.id)
        except InvalidListenerException:
            connection = self._connections_factory.create(listener=listener)
        else:
            connection = self._connections_factory.renew(known, listener)
        self.register_connection(connection)

    def register_connection(self, connection: Connection) -> None:
        """Register a listener with its queue, in place of what its id had before."""
        with self._connections_lock:
            replaced = self._connections.get(connection.listener.id)
            self._connections[connection.listener.id] = connection
        if replaced is not None:
            replaced.listener.wake()

    def get_listener(self, listener_id: str) -> MessageQueueListener:
        """Return the listener with that id; raises InvalidListenerException if there is none."""
        return self._connection(listener_id).listener

    def remove_listener(self, listener_id: str) -> None:
        """
        Give the listener's connection back to its factory, and forget it; its streams end.

        Raises InvalidListenerException for an unknown id, and what the factory raises: the
        listener stays then.
        """
        connection = self._connection(listener_id)
        self._connections_factory.release(connection)
        self._forget(connection)

    def get_connections(self) -> Iterable[Connection]:
        """Return the connections as they are now; later changes do not show."""
        with self._connections_lock:
            return tuple(self._connections.values())

    def dispatch(self, listener_id: str, msg: MessageContract) -> None:
        """
        Put a message into one listener's queue.

        Raises InvalidListenerException for an unknown id, RepositoryError when the
        queue fails.
        """
        self._connection(listener_id).queue.push(msg)

    def broadcast(self, msg: MessageContract) -> None:
        """
        Put a message into the queue of every listener registered now.

        Raises RepositoryError at the first queue that fails; those after it are not tried.
        """
        for connection in self.get_connections():
            # One that another thread has just removed misses nothing.
            with suppress(InvalidListenerException):
                self.dispatch(connection.listener.id, msg)

    def deliver_next(self, listener_id: str) -> MessageContract:
        """
        Take the listener's oldest message, hand it to its on_message(), return it.

        Raises NoMessagesException when the queue is empty or the listener is not running
        (its messages stay), InvalidListenerException for an unknown id, and whatever
        on_message() raises: the message has left the queue then.
        """
        connection = self._connection(listener_id)
        if not connection.listener.is_running():
            raise NoMessagesException("it is not running; call its start()", listener_id)
        message = connection.queue.pop()
        connection.listener.on_message(message)
        return message

    async def message_stream(self, listener: MessageQueueListener) -> AsyncGenerator[Any, None]:
        """
        Yield adapt(message) for each of the listener's messages while it is running.

        Waits for messages, for as long as none comes, at no cost; ends soon after stop(),
        called from any thread. Tells of what goes wrong by a message of type 'error': an
        unknown or removed listener, and then ends; a queue that fails, and then tries again,
        each time later; an on_message() or adapt() that raises, in place of that message.
        """
        try:
            queue = self._connection(listener.id).queue
        except InvalidListenerException as unknown:
            yield self._error(str(unknown))
            return
        goes_on = partial(self._goes_on, listener, queue)
        backoff = Backoff()
        with Alarm(listener.watch) as ended, Alarm(listener.watch, queue.watch) as changed:
            while True:
                changed.clear()  # before the looks: what comes later rings again
                if not goes_on():
                    break
                try:
                    message = await queue.apop()
                except NoMessagesException:
                    backoff.reset()
                    await changed.wait()
                except InvalidListenerException as removed:  # elsewhere, in the queue's store
                    yield self._error(str(removed))
                    return
                except Exception:
                    logger.exception("queue failed channel=%s listener=%s", self.id, listener.id)
                    yield self._error("The queue cannot be read now; the stream tries again.")
                    await ended.sleep(backoff.next_delay_s(), goes_on)
                else:
                    backoff.reset()
                    yield self._deliver(listener, message)
                    await ended.sleep(self.stream_delay_seconds, goes_on)
        if listener.is_running():
            yield self._error(f"Listener {listener.id!r} was removed: register it again.")

    async def watch(self) -> AsyncGenerator[Any, None]:
        """
        Return the stream of a new listener that is running already.

        What is published from now on is in it. The listener is removed when the stream,
        once begun, ends or is closed.
        """
        listener = MessageQueueListener()
        listener.start()
        self.register_connection(await self._connections_factory.acreate(listener))
        return self._watch(listener)

    async def _watch(self, listener: MessageQueueListener) -> AsyncGenerator[Any, None]:
        try:
            async with aclosing(self.message_stream(listener)) as events:
                async for event in events:
                    yield event
        finally:
            with suppress(InvalidListenerException):
                connection = self._connection(listener.id)
                await self._connections_factory.arelease(connection)
                self._forget(connection)

    def _connection(self, listener_id: str) -> Connection:
        """Return the listener's connection; raises InvalidListenerException if unknown."""
        connection = self._connections.get(listener_id)
        if connection is None:
            raise InvalidListenerException(listener_id, self.id)
        return connection

    def _forget(self, connection: Connection) -> None:
        """Take a connection out; raises InvalidListenerException if it is not in any more."""
        listener = connection.listener
        with self._connections_lock:
            if self._connections.get(listener.id) is not connection:
                raise InvalidListenerException(listener.id, self.id)
            del self._connections[listener.id]
        listener.wake()

    def _goes_on(self, listener: MessageQueueListener, queue: Queue) -> bool:
        """Whether a stream of the listener that takes from `queue` may go on."""
        connection = self._connections.get(listener.id)
        return listener.is_running() and connection is not None and connection.queue == queue

    def _deliver(self, listener: MessageQueueListener, message: MessageContract) -> Any:
        """Return what the stream yields for a message it took from the listener's queue."""
        try:
            listener.on_message(message)
            return self.adapt(message)
        except Exception:
            logger.exception("message failed channel=%s listener=%s", self.id, listener.id)
            return self._error("A message could not be delivered; the stream goes on after it.")

    def _error(self, text: str) -> Any:
        return self.adapt(Message(MESSAGE_TYPE_ERROR, text))
