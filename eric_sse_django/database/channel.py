"""The durable channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from eric_sse_django import conf, instruments, log, notifier, wire
from eric_sse_django.connection import Connection
from eric_sse_django.database.acknowledgement import acknowledge
from eric_sse_django.database.arguments import channel_id_of, listener_id_of, narrowed, owner_key
from eric_sse_django.database.events import entries, event_of, message_of
from eric_sse_django.database.factory import connect, register
from eric_sse_django.database.listener import DatabaseListener
from eric_sse_django.database.rows import (
    channel_row,
    create_channel,
    create_listener,
    get_or_create_channel,
    listener_row,
    unknown_channel,
)
from eric_sse_django.database.twins import methods_have_twins, twin_of
from eric_sse_django.entities import AbstractChannel
from eric_sse_django.entry import Entry
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.hub import Hub
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import MessageContract
from eric_sse_django.models import Channel, Listener, OpenStream, PresentListener

Self = TypeVar("Self", bound="DatabaseChannel")

# Listeners that get_connections() reads in one query.
PAGE_ROWS = 1_000
# Channels that are remembered; with more, all are forgotten: each then costs one query again.
MAX_KNOWN = 1_000


@methods_have_twins
class DatabaseChannel(AbstractChannel):
    """
    A channel whose listeners and messages are in the database, for all processes.

    Get one by create(), load() or get_or_create(). A message is kept if and only if the
    caller's transaction commits. Database errors are Django's own.

    Every method that queries the database has an async twin with the prefix `a`, which
    does the same on the thread where Django's async code has its connections.
    """

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

        `format` is "json", or "text" for strings that are sent unchanged. `access` decides
        which clients may watch: "ticket" (with a ticket), "users" (also users who are logged
        in) or "everyone". `retention_s` is for how many seconds messages are kept (None: the
        setting), `expires_in_s` for how many seconds they are delivered (None: no limit).
        Raises ChannelExists, and InvalidIdentifier for an id that cannot stand in a URL.
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
        Return the channel with that id; create it (with create()'s options) if there is none.

        An existing channel is not changed: a difference from the options is logged.
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
        Return a new listener, or the existing one with that id; it receives after its start().

        The sessions of the `owner` (a user) may open its stream. With the `acknowledgement`
        "client" a message counts as served when the client acknowledges it, with "sent" when
        it was written to a stream (None: unchanged, or "sent" for a new listener). Raises
        InvalidIdentifier, and TooManyListeners if MAX_LISTENERS_PER_CHANNEL is reached.
        """
        row = create_listener(self.row, listener_id, owner, acknowledgement=acknowledgement)
        return DatabaseListener(row)

    def register_listener(self, listener: MessageQueueListener) -> None:
        """
        Register the caller's own object; its on_message() is called in this process.

        Its queue is the database's: the existing one of its id, if there is one. A
        DatabaseListener of another channel becomes a listener of this one.
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
        listener_row(self.row, listener_id).delete()
        removed = self._registered.pop(listener_id, None)
        if removed is not None:
            removed.wake()

    def acknowledge(self, listener_id: str, position: int) -> int:
        """
        Count a listener's messages up to a position as served; return its cursor.

        The cursor never moves back. A position that the log does not have (above its head, or
        from before a restore) does not move it. Raises InvalidListenerException.
        """
        return acknowledge(listener_row(self.row, listener_id), position)

    def get_connections(self) -> Iterator[Connection]:
        """Yield the connections of all listeners of the channel by id, read page by page."""
        rows = Listener.objects.filter(channel=self.row).order_by("name")
        # Pages: behind PgBouncer a server-side cursor does not outlive a transaction.
        page = list(rows[:PAGE_ROWS])
        while page:
            for row in page:
                row.channel = self.row
                yield connect(row, self._registered.get(row.name))
            page = list(rows.filter(name__gt=page[-1].name)[:PAGE_ROWS])

    def online(self) -> list[DatabaseListener]:
        """
        Return the listeners that have an open stream now, on any server. One query.

        With receivers of the signals of listeners or users, also those whose last stream ended
        less than GRACE_S seconds ago: they have not left, and a reload does not remove them.
        """
        rows = Listener.objects.filter(channel=self.row)
        streams = rows.filter(pk__in=OpenStream.objects.online().values("listener"))
        leaving = rows.filter(pk__in=PresentListener.objects.leaving().values("pk"))
        found = [DatabaseListener(row) for row in streams.union(leaving).order_by("name")]
        for listener in found:
            listener.row.channel = self.row
        return found

    def _connection(self, listener_id: str) -> Connection:
        row = listener_row(self.row, listener_id)
        return connect(row, self._registered.get(listener_id))

    # Publishing: `expires_in_s` is for how many seconds a message is delivered, None as long
    # as the channel states. All raise InvalidMessageFormat for a message that cannot be sent.

    def dispatch(
        self, listener_id: Any, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """
        Publish to one listener (an object, or its id): one row, one statement.

        Raises InvalidListenerException for an unknown id.
        """
        try:
            name = listener_id_of(listener_id)
        except TypeError:
            raise InvalidListenerException(listener_id, self.row.name) from None
        draft = log.row(self.row, msg, expires_in_s=expires_in_s)
        publish_to(self.row, draft, name, expires_in_s)

    def dispatch_to_owner(
        self, user: Any, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """
        Publish to all listeners that a user (an object, or its key) owns when they read: one row.

        Raises ValueError for None and for a user that is not saved, TypeError for a value that
        is not a user.
        """
        owner = owner_key(narrowed("user", user))
        notifier.publish([log.row(self.row, msg, owner=owner, expires_in_s=expires_in_s)])

    def broadcast(self, msg: MessageContract, *, expires_in_s: float | None = None) -> None:
        """Publish to all listeners: one row, however many they are."""
        notifier.publish([log.row(self.row, msg, expires_in_s=expires_in_s)])

    def broadcast_many(
        self, msgs: Iterable[MessageContract], *, expires_in_s: float | None = None
    ) -> None:
        """Publish several messages to all listeners, in their order: all of them or none."""
        if drafts := log.rows(self.row, msgs, expires_in_s):
            notifier.publish(drafts)

    # Streams --------------------------------------------------------------------

    def adapt(self, msg: MessageContract) -> Any:
        """
        Return what streams yield for `msg`: its event, data and retry.

        To change that, override it and name the class in ERIC_SSE["CHANNEL_CLASS"]: HTTP
        streams then send what it returns. A return value that could not be published, and an
        exception, end the stream with an error.
        """
        return {"event": msg.type, "retry": conf.get("RETRY_MS"), "data": msg.payload}

    def encode(self, entry: Entry, named: bool = False) -> bytes:
        """
        Return the entry's frame: what adapt() returns, in the channel's format.

        `named` puts the channel's id and a slash before the event's name, for streams of
        several channels. No id has a slash in it.
        """
        prefix = f"{self.row.name}/" if named else ""
        as_text = self.row.format == str(Channel.Format.TEXT)
        if type(self).adapt is DatabaseChannel.adapt:
            return wire.channel_encoder(as_text, prefix)(entry)
        name, data, retry_ms = event_of(entry, self.adapt(message_of(entry)), as_text)
        return wire.encode(prefix + name, data, entry.position, retry_ms)

    def encode_named(self, entry: Entry) -> bytes:
        """As encode(entry, named=True)."""
        return self.encode(entry, named=True)

    def message_stream(self, listener: MessageQueueListener) -> AsyncGenerator[Any, None]:
        """
        Yield adapt(message), with its `id`, for waiting and new messages while it is running.

        Waits for messages without a time limit, at no cost; ends soon after stop(). Continues
        at its position after the database was unavailable, or an operator disconnected it. A
        message counts as served when it is yielded. An unknown or removed listener yields one
        message of type 'error', and ends. Raises StreamEnded when access is revoked or the
        process shuts down, and Django's DatabaseError if the database is unavailable at first.
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

        It continues and ends as message_stream() does.
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
        """Return a function that returns the channel's row: this one first, then by a query."""
        known = [self.row]
        return lambda: known.pop() if known else channel_row(self.id)

    async def _events(
        self, found: AsyncGenerator[Entry, None], listener: MessageQueueListener
    ) -> AsyncGenerator[Any, None]:
        """Yield what adapt() returns for the entries, at least `stream_delay_seconds` apart."""
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

    # Async twins ----------------------------------------------------------------

    @classmethod
    async def acreate(cls: type[Self], channel_id: str | None = None, **options: Any) -> Self:
        """As create()."""
        return await sync_to_async(cls.create)(channel_id, **options)

    @classmethod
    async def aload(cls: type[Self], channel_id: str) -> Self:
        """As load()."""
        return await sync_to_async(cls.load)(channel_id)

    @classmethod
    async def aget_or_create(cls: type[Self], channel_id: str, **options: Any) -> Self:
        """As get_or_create()."""
        return await sync_to_async(cls.get_or_create)(channel_id, **options)

    async def aget_connections(self) -> list[Connection]:
        """As get_connections(). Reads all of them into memory."""
        return await sync_to_async(lambda: list(self.get_connections()))()

    aadd_listener = twin_of(add_listener)
    aregister_listener = twin_of(register_listener)
    aregister_connection = twin_of(register_connection)
    aget_listener = twin_of(get_listener)
    aremove_listener = twin_of(remove_listener)
    aacknowledge = twin_of(acknowledge)
    aonline = twin_of(online)
    adispatch = twin_of(dispatch)
    adispatch_to_owner = twin_of(dispatch_to_owner)
    abroadcast = twin_of(broadcast)
    abroadcast_many = twin_of(broadcast_many)
    adeliver_next = twin_of(AbstractChannel.deliver_next)


# Channels by id, as this process read them first.
_known: dict[str, Channel] = {}


def known_channel(channel: Any) -> Channel:
    """
    Return the row of a channel (an object, or its id) as it was read first. No query, or one.

    It may be out of date: publish_to() finds that out. Raises InvalidChannelException.
    """
    name = channel if isinstance(channel, str) else channel_id_of(channel)
    row = _known.get(name)
    return refreshed(name) if row is None else row


def refreshed(name: str) -> Channel:
    """Return the row of a channel, read again. One query; raises InvalidChannelException."""
    _known.pop(name, None)
    row = channel_row(name)
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    _known[name] = row
    return row


def publish_to(
    channel: Channel, draft: log.Draft, listener_id: str | None, expires_in_s: float | None
) -> None:
    """
    Publish by one statement to a channel, or a listener of it, with its row as first read.

    A row that is out of date is read again by the channel's id. Raises InvalidChannelException
    and InvalidListenerException for what does not exist.
    """
    if instruments.makers:
        with instruments.publishing([draft], channel.name, listener_id):
            _publish_to(channel, draft, listener_id, expires_in_s)
    else:
        _publish_to(channel, draft, listener_id, expires_in_s)


def _publish_to(
    channel: Channel, draft: log.Draft, listener_id: str | None, expires_in_s: float | None
) -> None:
    notifier.prepare()
    appended = log.append_to(channel, draft, listener_id)
    if appended is None:
        channel = refreshed(channel.name)
        if listener_id is not None:
            listener_row(channel, listener_id)
        log.readdress(draft, channel, expires_in_s)
        appended = log.append_to(channel, draft, listener_id)
        if appended is None:
            raise unknown_channel(channel.name)  # it was removed meanwhile
    notifier.published(appended.segment)
