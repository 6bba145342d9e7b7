"""The events of message_stream() and watch(): entries, the messages they were, and adapt()'s."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from django.db import Error as DatabaseError

from eric_sse_django import conf, wire
from eric_sse_django.alarm import Alarm
from eric_sse_django.entry import RESERVED_PREFIX, Entry
from eric_sse_django.exception import InvalidMessageFormat, StreamEnded
from eric_sse_django.hub import End, Hub
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.log import payload_text
from eric_sse_django.message import Message, MessageContract, SignedMessage, UniqueMessage
from eric_sse_django.models import TYPE_MAX_LENGTH, Channel, Listener
from eric_sse_django.outage import MAX_OUTAGE_DELAY_S, Backoff
from eric_sse_django.streaming import Stream, Subscription

# Returns the channel's and the listener's row, None if the listener is not running. By queries;
# raises InvalidChannelException or InvalidListenerException for unknown ids.
Find = Callable[[], "tuple[Channel, Listener | None] | None"]


async def entries(
    find: Find, listener: MessageQueueListener, position: int | None = None
) -> AsyncGenerator[Entry, None]:
    """
    Yield a listener's entries, or a channel's, after `position` (None: after its cursor).

    Continues after outages of the database, except at the first attempt. Ends when the listener
    is stopped; raises what `find` raises if it was removed, and StreamEnded.
    """
    replays, backoff = None, Backoff(MAX_OUTAGE_DELAY_S)
    with Alarm(listener.watch) as stopped:
        while True:
            hub = Hub.for_running_loop()
            rows, reason = None, End.DATABASE_UNAVAILABLE
            try:
                rows = await hub.run(find)
            except (DatabaseError, RuntimeError):  # the second: the hub closed meanwhile
                if replays is None:
                    raise
            else:
                if rows is None:
                    return
                again = 0 if rows[1] is None else rows[1].replays
                # A replay by an operator has changed the cursor.
                at = position if replays in (None, again) else None
                replays = again
                async with _reading(hub, Subscription(*rows), at, listener) as stream:
                    async for entry in stream.entries():
                        backoff.reset()
                        position = entry.position
                        yield entry
                reason = stream.reason or End.CLOSED
            if not _continues(reason, rows):
                await _raise_if_removed(hub, find)
                if reason is End.STOPPED:
                    return
                raise StreamEnded(str(reason))
            await stopped.sleep(backoff.next_delay_s(), listener.is_running)


@asynccontextmanager
async def _reading(
    hub: Hub, subscription: Subscription, position: int | None, listener: MessageQueueListener
) -> AsyncIterator[Stream]:
    """Open a stream that ends when the listener object is stopped, from any thread."""
    loop = asyncio.get_running_loop()

    def wake() -> None:
        loop.call_soon_threadsafe(end)

    def end() -> None:
        if not listener.is_running():
            stream.end(End.STOPPED)

    try:
        async with Stream(hub, [subscription], position, is_request=False) as stream:
            undo = listener.watch(wake)
            try:
                yield stream
            finally:
                stream.end(End.CLOSED)
                if undo is not None:
                    undo()
    finally:
        await hub.records.write()  # the listener's next reader continues from here


def _continues(reason: End, rows: tuple[Channel, Listener | None] | None) -> bool:
    watches = rows is not None and rows[1] is None
    # Revoked access of watchers is checked again over HTTP, not here; or the channel was removed.
    return reason.resumes or (watches and reason is End.REVOKED)


async def _raise_if_removed(hub: Hub, find: Find) -> None:
    try:
        await hub.run(find)
    except (DatabaseError, RuntimeError):
        return  # the stream ends for its own reason


# Messages, and what adapt() makes of them ---------------------------------------------


def message_of(entry: Entry) -> MessageContract:
    """Return the message as it was published: signed and unique if it was."""
    payload = json.loads(entry.payload)
    if entry.uid is not None:
        return UniqueMessage(Message(entry.type, payload), entry.sender, entry.uid)
    if entry.sender is not None:
        return SignedMessage(entry.sender, entry.type, payload)
    return Message(entry.type, payload)


def event_of(entry: Entry, adapted: Any, as_text: bool) -> tuple[str, str, int | None]:
    """
    Return the event's name, data and retry (in ms), from what adapt() returned for an entry.

    Checked as a message that is published. Raises InvalidMessageFormat for what would forge an
    event, or cannot be sent.
    """
    if inspect.iscoroutine(adapted):
        adapted.close()
        raise InvalidMessageFormat("its adapt() is a coroutine function, which is not awaited")
    if not isinstance(adapted, dict):
        adapted = {"event": entry.type, "data": adapted}
    retry_ms = wire.check_retry(adapted.get("retry"))
    return _name(entry, adapted.get("event")), _data(adapted.get("data"), as_text), retry_ms


def _name(entry: Entry, name: Any) -> str:
    if name is None or name == entry.type:
        return str(name or "")
    checked = wire.check_text("event", name, TYPE_MAX_LENGTH)
    if checked.startswith(RESERVED_PREFIX):
        raise InvalidMessageFormat(
            f"its event begins with {RESERVED_PREFIX!r}, which is reserved for this app"
        )
    return checked


def _data(data: Any, as_text: bool) -> str:
    most = conf.get("MAX_MESSAGE_BYTES")
    if not (as_text and isinstance(data, str)):
        return payload_text(data)
    if len(data) > most:
        raise InvalidMessageFormat(f"its text has {len(data)} characters, {most} are allowed")
    return data
