"""Channels: messages are published to them, and they have listeners."""

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
from eric_sse_django.connection import (
    Connection,
    ConnectionsFactory,
    InMemoryConnectionsFactory,
)
from eric_sse_django.exception import InvalidListenerException, NoMessagesException
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import Message, MessageContract
from eric_sse_django.outage import Backoff
from eric_sse_django.queues import Queue

logger = logging.getLogger(__name__)

# The type of the message by which a stream reports an error to its client.
MESSAGE_TYPE_ERROR = "error"


class AbstractChannel(ABC):
    """
    Keeps listeners with their queues, publishes to them and streams to their clients.

    `stream_delay_seconds` is the minimum time between two messages of one stream. Its id is
    `channel_id`, or a new uuid4 as text if that is None. New listeners get their queues from
    `connections_factory`, in memory if that is None.

    Its methods may be called from any thread and on several event loops.
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
        """The unique id of this channel."""
        return self._id

    @abstractmethod
    def adapt(self, msg: MessageContract) -> Any:
        """Return what a stream yields for `msg`."""

    def add_listener(self) -> MessageQueueListener:
        """Return a new registered listener; it receives after its start()."""
        connection = self._connections_factory.create()
        self.register_connection(connection)
        return connection.listener

    def register_listener(self, listener: MessageQueueListener) -> None:
        """Register a listener; a registered one keeps its queue."""
        try:
            known = self._connection(listener.id)
        except InvalidListenerException:
            connection = self._connections_factory.create(listener=listener)
        else:
            connection = self._connections_factory.renew(known, listener)
        self.register_connection(connection)

    def register_connection(self, connection: Connection) -> None:
        """Register a listener with its queue; it replaces the connection of the same id."""
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
        Remove the listener and release its connection; its streams end.

        Raises InvalidListenerException for an unknown id. Raises what the factory raises, and
        then the listener stays registered.
        """
        connection = self._connection(listener_id)
        self._connections_factory.release(connection)
        self._forget(connection)

    def get_connections(self) -> Iterable[Connection]:
        """Return the connections as they are now, without later changes."""
        with self._connections_lock:
            return tuple(self._connections.values())

    def dispatch(self, listener_id: str, msg: MessageContract) -> None:
        """
        Push a message to one listener's queue.

        Raises InvalidListenerException for an unknown id, RepositoryError if the queue fails.
        """
        self._connection(listener_id).queue.push(msg)

    def broadcast(self, msg: MessageContract) -> None:
        """
        Push a message to the queue of every registered listener.

        Raises RepositoryError at the first queue that fails; the other queues do not get it.
        """
        for connection in self.get_connections():
            # Another thread may have removed the listener meanwhile.
            with suppress(InvalidListenerException):
                self.dispatch(connection.listener.id, msg)

    def deliver_next(self, listener_id: str) -> MessageContract:
        """
        Take the listener's oldest message, call its on_message(), return the message.

        Raises NoMessagesException if the queue is empty or the listener is not running (its
        messages stay), InvalidListenerException for an unknown id, and what on_message()
        raises: the message is no longer in the queue then.
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

        Waits for messages without a time limit, at no cost; ends soon after stop(), which may
        be called from any thread. A message of type 'error' reports an unknown or removed
        listener (the stream ends), a queue that fails (it is tried again after growing delays),
        and an on_message() or adapt() that raises (in place of that message).
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
                changed.clear()  # before the checks: a later change is kept
                if not goes_on():
                    break
                try:
                    message = await queue.apop()
                except NoMessagesException:
                    backoff.reset()
                    await changed.wait()
                except InvalidListenerException as removed:  # by another process
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
        Return the stream of a new running listener, with what is published from now on.

        The listener is removed when the stream, once started, ends or is closed.
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
        """Remove a connection; raises InvalidListenerException if it is no longer registered."""
        listener = connection.listener
        with self._connections_lock:
            if self._connections.get(listener.id) is not connection:
                raise InvalidListenerException(listener.id, self.id)
            del self._connections[listener.id]
        listener.wake()

    def _goes_on(self, listener: MessageQueueListener, queue: Queue) -> bool:
        """Whether a stream of the listener that takes from `queue` may continue."""
        connection = self._connections.get(listener.id)
        return listener.is_running() and connection is not None and connection.queue == queue

    def _deliver(self, listener: MessageQueueListener, message: MessageContract) -> Any:
        """Return what the stream yields for a message of the listener."""
        try:
            listener.on_message(message)
            return self.adapt(message)
        except Exception:
            logger.exception("message failed channel=%s listener=%s", self.id, listener.id)
            return self._error("A message could not be delivered; the stream continues after it.")

    def _error(self, text: str) -> Any:
        return self.adapt(Message(MESSAGE_TYPE_ERROR, text))
