"""The durable channel, without the async twins of its methods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from eric_sse_django import conf, log, notifier, wire
from eric_sse_django.connection import Connection
from eric_sse_django.database import operations
from eric_sse_django.database.adapted import adapted
from eric_sse_django.database.events import entries
from eric_sse_django.database.factory import connect, register
from eric_sse_django.database.listener import DatabaseListener
from eric_sse_django.database.messages import message_of
from eric_sse_django.database.publisher import Publisher
from eric_sse_django.database.rows import (
    channel_row,
    create_channel,
    create_listener,
    get_or_create_channel,
    listener_row,
)
from eric_sse_django.entry import Entry
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.hub import Hub
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import MessageContract
from eric_sse_django.models import Channel, Listener, OpenStream

Self = TypeVar("Self", bound="SyncDatabaseChannel")

# Listeners that one query reads.
PAGE_ROWS = 1_000


class SyncDatabaseChannel(Publisher):
    """What DatabaseChannel is; use that."""

    def __init__(self, row: Channel, stream_delay_seconds: float = 0) -> None:
        super().__init__(stream_delay_seconds, channel_id=row.name)
        self.row = row
        # Objects of the caller's own classes, whose on_message() this process calls.
        self._registered: dict[str, MessageQueueListener] = {}

    @classmethod
    def create(
        cls: type[Self],
        channel_id: str | None = None,
        *,
        format: str = "json",
        access: str = "ticket",
        retention_s: int | None = None,
        expires_in_s: int | None = None,
    ) -> Self:
        """
        Return a new channel; without an id it gets a uuid4.

        `format` is "json", or "text" for strings sent as they are. `access` is who may watch:
        "ticket" (a client with a ticket), "users" (also users who are logged in) or "everyone".
        `retention_s` is how many seconds messages are kept (None: the setting), `expires_in_s`
        after how many they are delivered to nobody any more (None: never too late). Raises
        ChannelExists, and InvalidIdentifier for an id that could not stand in a URL.
        """
        options: dict[str, Any] = {"format": format, "access": access}
        options |= {"retention_s": retention_s, "expires_in_s": expires_in_s}
        return cls(create_channel(channel_id, **options))

    @classmethod
    def load(cls: type[Self], channel_id: str) -> Self:
        """Return the channel with that id; raises InvalidChannelException. One query."""
        return cls(channel_row(channel_id))

    @classmethod
    def get_or_create(cls: type[Self], channel_id: str, **options: Any) -> Self:
        """
        Return the channel with that id, made (with create()'s options) if there is none.

        One that is there stays as it is: an option that it has otherwise is logged.
        """
        return cls(get_or_create_channel(channel_id, **options))

    # Listeners ------------------------------------------------------------------

    def add_listener(
        self,
        owner: Any = None,
        listener_id: str | None = None,
        *,
        acknowledgement: str | None = None,
    ) -> DatabaseListener:
        """
        Return a new listener, or the one with that id; it receives from its start() on.

        With an `owner` (a user), that user's session may open its stream. With the
        `acknowledgement` "client" a message counts as served when the client says so, with
        "sent" (None: as it is, or that) when it was written to a stream. Raises
        InvalidIdentifier, and TooManyListeners for a new one beyond MAX_LISTENERS_PER_CHANNEL.
        """
        row = create_listener(self.row, listener_id, owner, acknowledgement=acknowledgement)
        return DatabaseListener(row)

    def register_listener(self, listener: MessageQueueListener) -> None:
        """
        Register an object of your own; its on_message() is called in this process.

        Its queue is the database's: the one that its id has, if it has one. A DatabaseListener
        of another channel becomes this one's.
        """
        register(self.row, listener)
        self._registered[listener.id] = listener

    def register_connection(self, connection: Connection) -> None:
        """Register the connection's listener; its queue is the database's."""
        self.register_listener(connection.listener)

    def get_listener(self, listener_id: str) -> MessageQueueListener:
        """Return the listener with that id; raises InvalidListenerException. One query."""
        return self._connection(listener_id).listener

    def remove_listener(self, listener_id: str) -> None:
        """Remove the listener; its streams end. Raises InvalidListenerException."""
        row = listener_row(self.row, listener_id)
        row.delete()
        removed = self._registered.pop(listener_id, None)
        if removed is not None:
            removed.wake()

    def acknowledge(self, listener_id: str, position: int) -> int:
        """
        Count a listener's messages as served up to a position; return its cursor.

        That never goes back. A position that the log does not have, beyond its head or of
        before a restore, moves nothing. Raises InvalidListenerException.
        """
        return operations.acknowledge(listener_row(self.row, listener_id), position)

    def get_connections(self) -> Iterator[Connection]:
        """Yield the connections of all the channel's listeners, by id, read as you go."""
        rows = Listener.objects.filter(channel=self.row).order_by("name")
        # By pages: a cursor of the server's does not outlive a transaction behind PgBouncer.
        page = list(rows[:PAGE_ROWS])
        while page:
            for row in page:
                row.channel = self.row
                yield connect(row, self._registered.get(row.name))
            page = list(rows.filter(name__gt=page[-1].name)[:PAGE_ROWS])

    def online(self) -> list[DatabaseListener]:
        """Return the listeners that have a stream open now, on whatever server. One query."""
        streams = OpenStream.objects.online().values("listener")
        rows = Listener.objects.filter(channel=self.row, pk__in=streams)
        found = [DatabaseListener(row) for row in rows.order_by("name")]
        for listener in found:
            listener.row.channel = self.row
        return found

    def _connection(self, listener_id: str) -> Connection:
        row = listener_row(self.row, listener_id)
        return connect(row, self._registered.get(listener_id))

    # Streams --------------------------------------------------------------------

    def adapt(self, msg: MessageContract) -> Any:
        """
        Return what streams yield for `msg`: its event, data and retry.

        Override it to change that, and name your class in ERIC_SSE["CHANNEL_CLASS"]:
        HTTP streams then send what it returns. What could not be published as a message's type,
        or is no JSON value, ends the stream with an error; so does what it raises.
        """
        return {"event": msg.type, "retry": conf.get("RETRY_MS"), "data": msg.payload}

    def encode(self, entry: Entry, named: bool = False) -> bytes:
        """
        Return the entry's frame: `adapt` in the channel's format.

        `named` puts the channel's id and a slash before the event's name, for streams of
        several channels. No id has a slash in it.
        """
        prefix = f"{self.row.name}/" if named else ""
        as_text = self.row.format == str(Channel.Format.TEXT)
        if type(self).adapt is SyncDatabaseChannel.adapt:
            if not as_text:
                return wire.encode_json(prefix + entry.type, entry.payload, entry.position)
            return wire.encode(prefix + entry.type, wire.text_of(entry.payload), entry.position)
        name, data, retry_ms = adapted(entry, self.adapt(message_of(entry)), as_text)
        return wire.encode(prefix + name, data, entry.position, retry_ms)

    def encode_named(self, entry: Entry) -> bytes:
        """As encode(entry, named=True)."""
        return self.encode(entry, named=True)

    def message_stream(self, listener: MessageQueueListener) -> AsyncGenerator[Any, None]:
        """
        Yield adapt(message), with its `id`, for what waits and what comes while it is running.

        Waits for as long as nothing comes, at no cost, and has no age; ends soon after stop().
        Goes on where it was when the database was away, or an operator disconnected it.
        Messages count as served when they are yielded. An unknown or removed listener yields
        one message of type 'error', and ends. Raises StreamEnded when access was revoked or the
        process shuts down, and Django's DatabaseError where the database is away at first.
        """
        channel = self._finder()

        def find() -> tuple[Channel, Listener] | None:
            row = listener_row(channel(), listener.id)
            is_own = not isinstance(listener, DatabaseListener)
            runs = listener.is_running() if is_own else row.running
            return (row.channel, row) if runs else None

        return self._events(entries(find, listener), listener)

    async def watch(self) -> AsyncGenerator[Any, None]:
        """
        Return a stream of what is published from now on. No row is written for it.

        It goes on and ends as message_stream() does.
        """
        hub = Hub.for_running_loop()
        await hub.run(notifier.settle)
        head, _ = await hub.run(log.head)
        watcher = MessageQueueListener()
        watcher.start()
        channel = self._finder()
        found = entries(lambda: (channel(), None), watcher, head)
        return self._events(found, watcher)

    def _finder(self) -> Callable[[], Channel]:
        """Return what returns the channel's row; it is looked up at each call but the first."""
        known = [self.row]
        return lambda: known.pop() if known else channel_row(self.id)

    async def _events(
        self, found: AsyncGenerator[Entry, None], listener: MessageQueueListener
    ) -> AsyncGenerator[Any, None]:
        """Yield the entries as adapt() has them, at least `stream_delay_seconds` apart."""
        async with aclosing(found):
            try:
                async for entry in found:
                    event = self._deliver(listener, message_of(entry))
                    if isinstance(event, dict):
                        event.setdefault("id", entry.position)
                    yield event
                    if self.stream_delay_seconds:
                        await asyncio.sleep(self.stream_delay_seconds)
            except (InvalidChannelException, InvalidListenerException) as removed:
                yield self._error(str(removed))
