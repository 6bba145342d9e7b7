"""
Four implementations of eric's API, for the same calls: eric-sse itself, and ours.

The differences in docs/eric-sse.md are levelled out here, each at its place, and marked
"documented"; nothing else is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import eric_sse.connection
import eric_sse.listener
import eric_sse.message
import eric_sse.prefabs
import eric_sse.queues
from django.db import connections

import eric_sse_django.connection
import eric_sse_django.listener
import eric_sse_django.message
import eric_sse_django.prefabs
import eric_sse_django.queues
from eric_sse_django.database import DatabaseChannel, DatabaseConnectionsFactory

CHANNELS = ("a", "b")
# Seconds after which a stream that did not send an event counts as hanging.
PATIENCE_S = 10.0


class Boom(Exception):
    """What an on_message() of the caller's raises."""


def closing(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function on a thread of a loop's executor, and close the connections of that."""
    try:
        return function(*args)
    finally:
        connections.close_all()


class World:
    """
    Channels "a" and "b", and listeners by handles: numbers that mean the same in all worlds.

    Each call returns what can be compared; what it raises, is compared by the class's name.
    """

    package: Any = eric_sse_django

    def __init__(self, runner: asyncio.Runner | Any, number: int) -> None:
        self.runner = runner
        self.listeners: dict[int, Any] = {}
        self.received: dict[int, list[Any]] = {}
        self.channels = {
            name: self.make_channel(f"{name}-{type(self).__name__}-{number}") for name in CHANNELS
        }

    def make_channel(self, name: str) -> Any:
        return self.package.prefabs.SSEChannel(channel_id=name)

    def message(self, type: str, payload: Any, sender: str | None, uid: str | None) -> Any:
        of = self.package.message
        if uid is not None:
            return of.UniqueMessage(of.Message(type, payload), sender, uid)
        return (
            of.Message(type, payload)
            if sender is None
            else of.SignedMessage(sender, type, payload)
        )

    @staticmethod
    def shown(message: Any) -> Any:
        names = ("type", "payload", "sender_id", "id")
        return [type(message).__name__, *(getattr(message, name, None) for name in names)]

    # Listeners --------------------------------------------------------------------

    def add_listener(self, channel: str, handle: int) -> None:
        self.listeners[handle] = self.channels[channel].add_listener()

    def make_listener(self, handle: int, name: str) -> None:
        received = self.received.setdefault(handle, [])

        class Own(self.package.listener.MessageQueueListener):  # type: ignore[misc,name-defined]
            def on_message(self, msg: Any) -> None:
                received.append(World.shown(msg))
                if msg.payload == "boom":
                    raise Boom

        self.listeners[handle] = Own(name)

    def register_listener(self, channel: str, handle: int) -> None:
        self.channels[channel].register_listener(self.listeners[handle])

    def register_connection(self, channel: str, handle: int) -> None:
        queue = self.package.queues.InMemoryQueue()
        connection = self.package.connection.Connection(self.listeners[handle], queue)
        self.channels[channel].register_connection(connection)

    def remove_listener(self, channel: str, handle: int) -> None:
        self.channels[channel].remove_listener(self.listeners[handle].id)

    def get_listener(self, channel: str, handle: int) -> Any:
        found = self.channels[channel].get_listener(self.listeners[handle].id)
        return found.id == self.listeners[handle].id, found.is_running()

    def connected(self, channel: str) -> Any:
        handles = {listener.id: handle for handle, listener in self.listeners.items()}
        found = [each.listener.id for each in self.channels[channel].get_connections()]
        return sorted(handles[listener] for listener in found)

    def start(self, handle: int) -> None:
        self.listeners[handle].start()

    def stop(self, handle: int) -> None:
        self.listeners[handle].stop()

    def is_running(self, handle: int) -> Any:
        return self.listeners[handle].is_running()

    # Messages ---------------------------------------------------------------------

    def dispatch(self, channel: str, handle: int, message: tuple[Any, ...]) -> None:
        self.channels[channel].dispatch(self.listeners[handle].id, self.message(*message))

    def broadcast(self, channel: str, message: tuple[Any, ...]) -> None:
        self.channels[channel].broadcast(self.message(*message))

    def deliver_next(self, channel: str, handle: int) -> Any:
        return self.shown(self.channels[channel].deliver_next(self.listeners[handle].id))

    def queue(self, channel: str, handle: int) -> Any:
        name = self.listeners[handle].id
        found = self.channels[channel].get_connections()
        [queue] = [each.queue for each in found if each.listener.id == name]
        return queue

    def push(self, channel: str, handle: int, message: tuple[Any, ...]) -> None:
        self.queue(channel, handle).push(self.message(*message))

    def pop(self, channel: str, handle: int) -> Any:
        return self.shown(self.queue(channel, handle).pop())

    # Streams ----------------------------------------------------------------------

    def stream(self, channel: str, handle: int, number: int) -> Any:
        """Return the next events of a stream, and its end after its listener is stopped."""
        return self.runner.run(self._stream(channel, handle, number))

    async def _stream(self, channel: str, handle: int, number: int) -> Any:
        listener = self.listeners[handle]
        async with aclosing(self.channels[channel].message_stream(listener)) as events:
            taken = [await self.soon(anext(events, None)) for _ in range(number)]
            shown = [self.event(event) for event in taken]
            await asyncio.to_thread(closing, listener.stop)
            rest = await self.soon(anext(events, None))
        return shown, None if rest is None else self.event(rest)

    def watch(self, channel: str, message: tuple[Any, ...]) -> Any:
        """Return what a watch that began before yields of a broadcast."""
        return self.runner.run(self._watch(channel, message))

    async def _watch(self, channel: str, message: tuple[Any, ...]) -> Any:
        async with aclosing(await self.channels[channel].watch()) as events:
            await asyncio.to_thread(closing, self.broadcast, channel, message)
            return self.event(await self.soon(anext(events)))

    @staticmethod
    async def soon(awaitable: Any) -> Any:
        async def awaited() -> Any:
            return await awaitable

        return await asyncio.wait_for(awaited(), PATIENCE_S)

    @staticmethod
    def event(event: Any) -> Any:
        if event is None:
            return None
        if event["event"] == "error":
            return "error"  # documented: the text is each one's own
        return event["event"], event["data"]  # documented: the default of retry; our id

    def close(self) -> None:
        """Give back what it holds."""


class Memory(World):
    """Our SSEChannel."""


class Eric(World):
    """eric-sse's SSEChannel."""

    package = eric_sse

    def register_listener(self, channel: str, handle: int) -> None:
        """Documented: registering a listener again keeps its queue."""
        listener, target = self.listeners[handle], self.channels[channel]
        kept = [each for each in target.get_connections() if each.listener.id == listener.id]
        if not kept:
            target.register_listener(listener)
            return
        target.register_connection(
            eric_sse.connection.Connection(listener, kept[0].queue, kept[0].id)
        )

    async def _stream(self, channel: str, handle: int, number: int) -> Any:
        """Documented: an unknown listener gets an error and the end, where eric-sse raises."""
        try:
            return await super()._stream(channel, handle, number)
        except eric_sse.exception.InvalidListenerException:
            await asyncio.to_thread(closing, self.listeners[handle].stop)
            return ["error", *[None] * (number - 1)], None

    async def _watch(self, channel: str, message: tuple[Any, ...]) -> Any:
        """Documented: the listener of a watch is removed with it."""
        target = self.channels[channel]
        before = {each.listener.id for each in target.get_connections()}
        try:
            return await super()._watch(channel, message)
        finally:
            for each in list(target.get_connections()):
                if each.listener.id not in before:
                    target.remove_listener(each.listener.id)


class Factory(World):
    """Our SSEChannel, whose queues are in the database."""

    def make_channel(self, name: str) -> Any:
        factory = DatabaseConnectionsFactory(name)
        return eric_sse_django.prefabs.SSEChannel(channel_id=name, connections_factory=factory)


class Database(World):
    """DatabaseChannel."""

    def make_channel(self, name: str) -> Any:
        return DatabaseChannel.create(name)

    def register_connection(self, channel: str, handle: int) -> None:
        """Documented: the queue is the database's, whatever queue the connection has."""
        target, listener = self.channels[channel], self.listeners[handle]
        if any(each.listener.id == listener.id for each in target.get_connections()):
            target.remove_listener(listener.id)
        super().register_connection(channel, handle)


WORLDS = (Eric, Memory, Factory, Database)
