"""Ready-made channels and listeners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeAlias

from eric_sse_django.connection import Connection, ConnectionsFactory
from eric_sse_django.entities import AbstractChannel
from eric_sse_django.exception import (
    InvalidChannelException,
    InvalidListenerException,
    NoMessagesException,
)
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import MessageContract, SignedMessage
from eric_sse_django.queues import Queue

logger = logging.getLogger(__name__)

# Milliseconds after which a browser that lost its stream reconnects: the usual default of
# browsers. With a few milliseconds, all clients would storm a server that restarts.
RETRY_TIMEOUT_MS = 3000

# Messages submitted to an executor at once, for each of its workers: the running one and the
# next.
MESSAGES_PER_WORKER = 2

Action: TypeAlias = Callable[[MessageContract], "list[MessageContract]"]


class SSEChannel(AbstractChannel):
    """A channel whose streams yield the fields of a server-sent event."""

    def __init__(
        self,
        stream_delay_seconds: float = 0,
        retry_timeout_milliseconds: int = RETRY_TIMEOUT_MS,
        channel_id: str | None = None,
        connections_factory: ConnectionsFactory | None = None,
    ) -> None:
        super().__init__(stream_delay_seconds, channel_id, connections_factory)
        self.retry_timeout_milliseconds = retry_timeout_milliseconds

    def adapt(self, msg: MessageContract) -> dict[str, Any]:
        """Return the message's type as `event`, its payload as `data`, and `retry`."""
        return {
            "event": msg.type,
            "retry": self.retry_timeout_milliseconds,
            "data": msg.payload,
        }


class DataProcessingChannel(AbstractChannel):
    """
    A channel that processes a listener's messages with an executor.

    `executor_class` is called with `max_workers`. With a ProcessPoolExecutor, listeners and
    messages are pickled: changes that on_message() makes to its listener stay in the worker,
    changes to the message are returned. `stream_delay_seconds` is for message_stream() only.
    """

    def __init__(
        self,
        max_workers: int,
        stream_delay_seconds: float = 0,
        executor_class: Callable[..., Executor] = ThreadPoolExecutor,
    ) -> None:
        super().__init__(stream_delay_seconds=stream_delay_seconds)
        self.max_workers = max_workers
        self.executor_class = executor_class

    def adapt(self, msg: MessageContract) -> dict[str, Any]:
        """Return the message's type as `event` and its payload as `data`."""
        return {"event": msg.type, "data": msg.payload}

    async def process_queue(
        self, listener: MessageQueueListener
    ) -> AsyncGenerator[dict[str, Any], None]:
        """
        Run the listener's on_message() for its queued messages, yield adapt() of each.

        Yields in the order of completion, and ends when the queue is empty and all are done,
        also if the listener is not running. Never blocks the event loop. If it is closed early,
        messages that were not submitted to a worker stay in the queue, and closing waits for
        the submitted ones.

        Raises InvalidListenerException for an unknown listener, and what on_message() or the
        queue raises.
        """
        queue = self._connection(listener.id).queue
        executor = self.executor_class(max_workers=self.max_workers)
        done: asyncio.Queue[asyncio.Future[MessageContract]] = asyncio.Queue()
        working = 0
        try:
            while True:
                while working < self.max_workers * MESSAGES_PER_WORKER:
                    future = await _submit(queue, listener, executor)
                    if future is None:
                        break
                    working += 1
                    future.add_done_callback(done.put_nowait)
                if not working:
                    return
                finished = await done.get()
                working -= 1
                yield self.adapt(finished.result())
        finally:
            # In a thread: it waits for the submitted messages.
            await asyncio.to_thread(executor.shutdown)


async def _submit(
    queue: Queue, listener: MessageQueueListener, executor: Executor
) -> asyncio.Future[MessageContract] | None:
    """Submit the queue's oldest message; return its future, None if the queue is empty."""
    try:
        message = await queue.apop()
    except NoMessagesException:
        return None
    loop = asyncio.get_running_loop()
    return loop.run_in_executor(executor, _process, listener.on_message, message)


def _process(
    on_message: Callable[[MessageContract], None], message: MessageContract
) -> MessageContract:
    # A function of the module: a process pool finds it by name. It returns the message, which in
    # a worker process is a copy.
    on_message(message)
    return message


class SimpleDistributedApplicationListener(MessageQueueListener):
    """
    A listener that answers: a message calls the action of its type, and the messages that the
    action returns are sent to the message's sender.

    Messages of type 'start' and 'stop' start and stop the listener.
    """

    def __init__(self, listener_id: str | None = None) -> None:
        super().__init__(listener_id)
        self._channel: AbstractChannel | None = None
        self._actions: dict[str, Action] = {}
        self._reserved: dict[str, Callable[[], None]] = {"start": self.start, "stop": self.stop}

    def set_channel(self, channel: AbstractChannel) -> None:
        """Set the channel of this listener's messages; registering with a channel calls it."""
        self._channel = channel

    def set_action(self, name: str, action: Action) -> None:
        """
        Call `action` with each message of type `name`; it returns the answers.

        Raises KeyError for the names 'start' and 'stop'.
        """
        if name in self._reserved:
            raise KeyError(f"Action {name!r} is reserved: choose another name.")
        self._actions[name] = action

    def dispatch_to(self, receiver: MessageQueueListener, msg: MessageContract) -> None:
        """
        Send a message to another listener of the channel, signed with this listener's id.

        Raises InvalidChannelException if this listener is not registered with a channel,
        InvalidListenerException if the channel does not have the receiver.
        """
        self._send(receiver.id, msg)

    def on_message(self, msg: MessageContract) -> None:
        """
        Call the action of the message's type; an unknown action is ignored.

        If the message is not signed, or its sender was removed, the answers are dropped with a
        warning. Raises what the action raises.
        """
        if msg.type in self._reserved:
            self._reserved[msg.type]()
            return
        action = self._actions.get(msg.type)
        if action is None:
            logger.debug("unknown action listener=%s action=%s", self.id, msg.type)
            return
        sender_id = getattr(msg, "sender_id", None)
        for answer in action(msg):
            try:
                self._send(sender_id, answer)
            except InvalidListenerException:
                logger.warning("answer dropped listener=%s sender=%s", self.id, sender_id)

    def _send(self, receiver_id: str | None, msg: MessageContract) -> None:
        if self._channel is None:
            raise InvalidChannelException
        if receiver_id is None:
            raise InvalidListenerException(receiver_id, self._channel.id)
        self._channel.dispatch(receiver_id, SignedMessage(self.id, msg.type, msg.payload))


class SimpleDistributedApplicationChannel(SSEChannel):
    """A channel whose listeners send messages to each other."""

    def register_connection(self, connection: Connection) -> None:
        """Register a listener with its queue, and make this the channel of its messages."""
        if isinstance(connection.listener, SimpleDistributedApplicationListener):
            connection.listener.set_channel(self)
        super().register_connection(connection)
