"""One stream: where it begins, what ends it, and what it leaves to its listeners' cursors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from django.db import Error as DatabaseError

from eric_sse_django.entry import Entry
from eric_sse_django.hub import End, Hub, keys_of
from eric_sse_django.models import Listener
from eric_sse_django.streaming.part import Part
from eric_sse_django.streaming.writer import Writer


class Stream(Writer):
    """
    One reader of a channel, or of several: a listener's, or a watcher's.

    It is attached to the running loop's hub between open() and close(), or as an async context
    manager. Then either serve() it, or take its entries().
    """

    # Of 30 attributes Python makes a dict for each object: 1.5 KiB.
    __slots__ = ("_as_of", "due_at", "subjects")

    def __init__(
        self,
        hub: Hub,
        parts: Sequence[Part],
        last_event_id: int | None = None,
        ends_at: float | None = None,
        as_of: int | None = None,
        subjects: frozenset[str] = frozenset(),
    ) -> None:
        """
        `ends_at` is the time.monotonic() at which it ends, were it younger than its age.

        `as_of` is the hub's position before the listeners were looked up: where it is the same
        when the stream begins, no stop can have been missed, and a query is saved.

        `subjects` are those whose revocation ends it, beside its listeners and their owners.
        """
        super().__init__(hub, parts, last_event_id, ends_at)
        self.due_at = 0.0
        self._as_of = as_of
        self.subjects = keys_of(subjects.union(*(part.subjects() for part in parts)))

    # Its beginning and its end ----------------------------------------------------

    async def __aenter__(self) -> Stream:
        return await self.open()

    async def open(self) -> Stream:
        """Attach it at its first position: Last-Event-ID, else the cursor, else now."""
        await self._hub.ready()
        await self._find_start()
        self._marked = self.cursor
        self._hub.attach(self)
        self._note(acknowledged=self._asked is not None)
        if self._obeyed != self._as_of:
            try:
                await self._check_since()
            except BaseException:
                self.close()
                raise
        return self

    async def _check_since(self) -> None:
        """End it for what was told after it was let in, and before it was attached."""
        if self._as_of is not None:
            self._hub.tail.revoked.catch_up(self, self._as_of)
        running = [part.listener for part in self.parts if part.listener and part.runs]
        if running:
            await self._check_running(running)

    async def _check_running(self, listeners: Sequence[int]) -> None:
        try:
            runs = await self._hub.run(_all_run, listeners)
        except (DatabaseError, RuntimeError):  # the second: the hub closed meanwhile
            self.end(End.DATABASE_AWAY)
        else:
            if not runs:
                self.end(End.STOPPED)

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def end(self, reason: End) -> None:
        """Have it end before its next message; the first reason counts."""
        super().end(reason)
        self._hub.timetable.hasten(self)  # its last write is to be short

    def close(self) -> None:
        """Leave the hub. Never waits, and may be called twice."""
        self.end(End.CLOSED)
        self._writer = None
        self._note(acknowledged=False)
        self._hub.detach(self)
        self._buffer.clear()

    def on_tick(self, now: float) -> float:
        """
        End it when it is old or stuck in a write; have a heartbeat sent when it was silent.

        Returns when that is to be seen to next, as a time.monotonic().
        """
        clock = self._clock
        if clock.is_old(now):
            self.end(End.AGE)
        if clock.is_stuck(now, ends=self.reason is not None):
            self.abort(End.SEND_TIMEOUT)
        elif clock.is_silent(now) and not self._beat_at_once():
            self._beat = True
            self._wake()
        return 0.0 if self.reason is not None else clock.due_at(now)

    # As entries ---------------------------------------------------------------------

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield the entries, one by one; each counts as served."""
        while (batches := await self._next()) is not None:
            for batch in batches:
                for entry in batch.entries:
                    self._serve(entry.position)
                    yield entry
                    if self.reason is not None:
                        return
            self._served()

    # Its cursor ---------------------------------------------------------------------

    def _note(self, acknowledged: bool) -> None:
        """Note that the listeners were seen, and what a client has told that it has."""
        if self._histories != self._counters.histories:
            return
        for part in self.parts:
            if part.listener is not None:
                told = acknowledged and part.by_client
                self._hub.reached(part.listener, part.after if told else 0, part.replays)


def _all_run(listeners: Sequence[int]) -> bool:
    rows = Listener.objects.filter(pk__in=listeners, running=True)
    return rows.count() == len(listeners)
