"""One stream: where it begins, what the hub calls on it, and what ends it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from django.db import Error as DatabaseError

from eric_sse_django.entry import Encode, Entry
from eric_sse_django.hub import Batch, End, Hub, keys_of
from eric_sse_django.models import Listener, subjects_of
from eric_sse_django.streaming.clock import Clock
from eric_sse_django.streaming.reader import Reader
from eric_sse_django.streaming.sender import AtOnce, Sender, Write, sender_class
from eric_sse_django.streaming.subscription import Subscription


class Stream:
    """
    A client of a channel, or of several: a listener, or a watcher.

    It is attached to the running loop's hub between open() and close(), or as an async context
    manager. Then either serve() it, or take its entries(). `sent` is the number of messages
    that serve() has written; `was_cut` is true if its last write was not done. `subscriptions` are
    its channels, with their listeners.
    """

    # Without them Python makes a dict for each object.
    __slots__ = (
        *("_as_of", "_clock", "_hub", "_is_request", "_sender", "_task", "due_at", "reader"),
        *("sent", "subjects", "subscriptions", "was_cut"),
    )

    def __init__(
        self,
        hub: Hub,
        subscriptions: Sequence[Subscription],
        last_event_id: int | None = None,
        ends_at: float | None = None,
        as_of: int | None = None,
        subjects: frozenset[str] = frozenset(),
        is_request: bool = True,
    ) -> None:
        """
        `ends_at` is the time.monotonic() at which it ends, if that is before its maximum age.

        `as_of` is the hub's position before the listeners were looked up: where it is the same
        when the stream begins, no stop can have been missed, and a query is saved.

        `subjects` are those whose revocation ends it, beside its listeners and their owners.

        `is_request` is false where Python code reads it: then it has no age, and the position
        where it begins acknowledges nothing.
        """
        self.subscriptions = subscriptions
        self.reader = Reader(hub, subscriptions, last_event_id)
        self.was_cut = False
        self.sent = 0
        self.due_at = 0.0
        for each in subscriptions:
            subjects |= subjects_of(each.channel, each.listener, each.owner)
        self.subjects = keys_of(subjects)
        self._hub = hub
        self._as_of = as_of
        self._is_request = is_request
        self._clock = Clock(ends_at, ages=is_request)
        self._sender: Sender | None = None
        self._task: asyncio.Task[Any] | None = None

    @property
    def reason(self) -> End | None:
        """Why it ends, None before."""
        return self.reader.reason

    # Its beginning and its end ----------------------------------------------------

    async def __aenter__(self) -> Stream:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def open(self) -> Stream:
        """Attach it at its first position: Last-Event-ID, else the cursor, else now."""
        await self._hub.ready()
        await self.reader.begin()
        self.reader.feed = self._hub.attach(self)
        self.reader.seen(acknowledged=self._is_request)
        if self.reader.applied != self._as_of:
            try:
                await self._check_since()
            except BaseException:
                self.close()
                raise
        return self

    async def _check_since(self) -> None:
        """End it for what was published after it was admitted, and before it was attached."""
        if self._as_of is not None:
            self._hub.revocations.catch_up(self, self._as_of)
        running = [each.listener for each in self.subscriptions if each.listener and each.runs]
        if running:
            await self._check_running(running)

    async def _check_running(self, listeners: Sequence[int]) -> None:
        try:
            runs = await self._hub.run(_all_run, listeners)
        except (DatabaseError, RuntimeError):  # the second: the hub closed meanwhile
            self.end(End.DATABASE_UNAVAILABLE)
        else:
            if not runs:
                self.end(End.STOPPED)

    def end(self, reason: End) -> None:
        """End before the next message; the first reason counts."""
        self.reader.end(reason)
        self._hub.deadlines.hasten(self)  # its last write must be short

    def abort(self, reason: End) -> None:
        """End, also during a write that does not return."""
        self.end(reason)
        if self._clock.is_writing and self._task is not None and not self.was_cut:
            self.was_cut = True
            self._task.cancel()

    def close(self) -> None:
        """Detach it from the hub. Never waits, and may be called twice."""
        self.reader.close()
        self.reader.seen(acknowledged=False)
        self._hub.detach(self)
        self._task = None

    # What the hub calls -----------------------------------------------------------

    def push(self, batch: Batch, alone: bool) -> None:
        """
        Take what comes next: write it at once, or else have it read and written by the task.

        `alone` is true if nothing follows it at once, which would better be written with it.
        """
        reader, sender = self.reader, self._sender
        if (
            alone
            and sender is not None
            and batch.control is None
            and reader.is_idle()
            and sender.send_at_once(batch)
        ):
            return
        reader.push(batch)
        if reader.reason is not None:
            self._hub.deadlines.hasten(self)

    def fall_back(self) -> None:
        """Drop what waits, and read the log again."""
        self.reader.fall_back()
        if self.reader.reason is not None:
            self._hub.deadlines.hasten(self)

    def on_tick(self, now: float) -> float:
        """
        End it when it is old or stuck in a write; write a heartbeat when it was silent.

        Returns when to call it next, as a time.monotonic().
        """
        clock, sender = self._clock, self._sender
        if clock.is_old(now):
            self.end(End.AGE)
        if clock.is_stuck(now, ends=self.reason is not None):
            self.abort(End.SEND_TIMEOUT)
        elif sender is not None and clock.is_silent(now) and not sender.beat_at_once():
            self.reader.ask_heartbeat()
        return 0.0 if self.reason is not None else clock.due_at(now)

    # What it delivers -------------------------------------------------------------

    async def serve(
        self,
        write: Write,
        encode: Encode,
        at_once: AtOnce = lambda: None,
        blank: bool = True,
    ) -> None:
        """
        Write opening, frames, heartbeats and the last chunk until it ends.

        Where nothing waits, what `at_once()` returns is tried first. `write` is cancelled when it
        takes too long or the client leaves: `was_cut` is then true. For the others see Sender.
        """
        self._sender = sender = sender_class()(
            *(self._hub, self.reader, self._clock, self.end),
            *(write, encode, blank),
        )
        self._task = asyncio.current_task()
        try:
            await sender.run(at_once)
            self._hub.deadlines.hasten(self)
            await sender.finish(self.reason or End.CLOSED)
        except asyncio.CancelledError:
            if not self.was_cut or _cancelled_by_others(self._task):
                raise
        finally:
            self.sent = sender.sent
            self._sender = self._task = None

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield the entries, one by one; each counts as delivered."""
        reader = self.reader
        while (batches := await reader.next()) is not None:
            for batch in batches:
                for entry in batch.entries:
                    reader.delivered(entry.position, 1)
                    yield entry
                    if reader.reason is not None:
                        return
            reader.delivered(reader.cursor)


def _all_run(listeners: Sequence[int]) -> bool:
    rows = Listener.objects.filter(pk__in=listeners, running=True)
    return rows.count() == len(listeners)


def _cancelled_by_others(task: asyncio.Task[Any] | None) -> bool:
    """Take back one cancel() of a task's; return whether there was another."""
    if task is None or sys.version_info < (3, 11):
        return False
    return task.uncancel() > 0
