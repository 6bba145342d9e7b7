"""The hub: one reader of the log, one tail, one timer for all streams of an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Protocol

from eric_sse_django import notifier, wakes
from eric_sse_django.cancelling import cancel, within
from eric_sse_django.hub import hubs
from eric_sse_django.hub.announcer import Announcer
from eric_sse_django.hub.database_thread import FIRST, DatabaseThread
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.feed import Addressee, Subscriber
from eric_sse_django.hub.feeds import LINGER_S
from eric_sse_django.hub.hooks import Hooks
from eric_sse_django.hub.past import Past
from eric_sse_django.hub.records import Records
from eric_sse_django.hub.subjects import Endable, Subjects
from eric_sse_django.hub.tail import Tail
from eric_sse_django.hub.timetable import Timed, Timetable
from eric_sse_django.hub.unsendable import Unsendable
from eric_sse_django.workers import Hung, Workers

logger = logging.getLogger(__name__)

# Seconds between two rounds of heartbeats, ages, deadlines and writes.
TICK_S = 1.0
# Seconds a process that ends gives each hub to write its records.
EXIT_WRITE_S = 2.0
# Seconds a look at the log may take before its thread is replaced. They take 1 to 20 ms.
READ_DEADLINE_S = 10.0
# Seconds for all other calls: backlogs, records, lookups.
CALL_DEADLINE_S = 30.0
# Seconds for which the log cannot be read before streams are ended: heartbeats alone would
# have their clients believe that nothing is published.
AWAY_S = 30.0
# Seconds after which a client tries again while the database is away, at most half of it: of
# 20,000 clients some 450 come in a second then.
MAX_AWAY_REST_S = 60.0


class Attachable(Subscriber, Timed, Endable, Protocol):
    """What a hub serves: a stream."""


def channels_of(subscriptions: Iterable[Addressee]) -> Iterable[int]:
    """Return the channels that a stream is of."""
    return (each.channel for each in subscriptions)


class Hub:
    """
    Entries to streams, on one event loop. Get it with `Hub.for_running_loop()`.

    It has two threads with a database connection each, whatever the number of streams: one
    reads the log's tail and nothing else, the other does what may take longer. `hooks` call a
    project's rules and sessions, `adapters` what it makes of messages. Its timer replaces what
    hangs. It stops by itself LINGER_S after its last stream, and logs and retries all failures.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.streams: set[Attachable] = set()
        self.timetable = Timetable()
        self.records = Records()
        self.unsendable = Unsendable()
        self.draining = False
        self.loop = loop
        replaced = self.records.counters.replaced
        self._reader = DatabaseThread("eric-sse-hub", lambda: READ_DEADLINE_S, replaced)
        self._thread = DatabaseThread("eric-sse-records", lambda: CALL_DEADLINE_S, replaced)
        self.hooks = Hooks("eric-sse-hooks", replaced)
        self.adapters = Hooks("eric-sse-adapt", replaced)
        self._announcer = Announcer(replaced)
        self._announcing: asyncio.Task[None] | None = None
        self.run = self._thread.run
        self.tail = Tail(self._reader.run, self.records.counters)
        self.tail.revoked.notify = self._on_revoked
        self.tail.on_history = self._on_history
        self.records.cursors.known = lambda: self.tail.known
        self.subjects = Subjects()
        self.past = Past(self.run)
        self._used_at = time.monotonic()
        self._unsubscribe: Callable[[], None] | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        self._started = self._spawn(self._start())
        self._spawn(self._follow())
        self._spawn(self._listen())
        self._tick = loop.call_later(TICK_S, self._on_tick)

    @staticmethod
    def for_running_loop() -> Hub:
        """Return the running loop's hub; the first call makes and starts it."""
        loop = asyncio.get_running_loop()
        hub = hubs.of(loop)
        if hub is None:
            hub = Hub(loop)
            hubs.add(loop, hub)
        hub._used_at = time.monotonic()
        return hub

    async def ready(self) -> None:
        """Wait until the head of the log is known, or the hub is closed."""
        # Not `await self._started`: what cancels us must not cancel that, nor the reverse.
        if not self._started.done():
            await asyncio.wait({self._started})

    def attach(self, stream: Attachable) -> None:
        """Serve a stream from here on; a hub that stops ends it at once."""
        self.streams.add(stream)
        self.timetable.add(stream)
        self.subjects.add(stream)
        self.records.opened(stream)
        self.tail.feed_of(*channels_of(stream.subscriptions)).add(stream)
        if self._closed or self.draining:
            stream.end(End.HUB_CLOSED if self._closed else End.DRAINING)
        elif self.is_away():
            stream.end(End.DATABASE_AWAY)

    def is_away(self) -> bool:
        """Whether the log could not be read for so long that streams cannot be served."""
        return self.tail.outage.lasts_s() > AWAY_S

    def away_rest_s(self) -> float:
        """Return the seconds after which a client is to try again: 0.0 while the log is read."""
        return min(self.tail.outage.lasts_s(), MAX_AWAY_REST_S) * random.uniform(0.5, 1)

    def trouble(self) -> str | None:
        """Return why streams are not served, None while they are. From any thread."""
        # Hooks that hang are a project's own: only once they keep others from being called.
        hooks = self.hooks.trouble() if self.hooks.refuses() else None
        return self.tail.trouble() or self._thread.trouble() or hooks

    def detach(self, stream: Attachable) -> None:
        """Serve it no more, and have that written. Never waits; may be called twice."""
        if stream not in self.streams:
            return
        self._used_at = time.monotonic()
        self.streams.discard(stream)
        self.timetable.discard(stream)
        self.subjects.discard(stream)
        self.records.ended(stream)
        feed = self.tail.feeds.found(channels_of(stream.subscriptions))
        if feed is not None:
            feed.discard(stream)
        self._write_soon()

    def reached(self, listener: int, position: int, replays: int = 0) -> None:
        """Have a listener's cursor written, with others', within TICK_S."""
        self.records.cursors.reached(listener, position, replays)

    def unwritten(self, listener: int, replays: int = 0) -> int:
        """Return the position a listener has reached, 0 when the database knows it."""
        return self.records.cursors.unwritten(listener, replays)

    async def write_records(self) -> None:
        """Write what streams have reached; on an error it waits for the next round."""
        await self.records.write(self.run, len(self.streams))
        idle = self._announcing is None or self._announcing.done()
        if self._announcer.add(self.records.changes()) and idle:
            self._announcing = self._spawn(self._announcer.run())

    def add_waker(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have wake() called here after each look that found something; return the undo."""
        self.tail.wakers.add(wake)
        return lambda: self.tail.wakers.discard(wake)

    def wake(self) -> None:
        """Have the log looked at. Safe from any thread, returns at once."""
        self.records.counters.woken()
        self._soon(self.tail.lookout.ring)

    def drain(self) -> None:
        """End all streams, each with a `retry:` of its own. Safe from any thread."""
        self.draining = True
        self._soon(self._end_streams, End.DRAINING)

    @contextlib.contextmanager
    def revocable(self, one: Endable, as_of: int) -> Iterator[None]:
        """Have it end once one of its subjects is revoked; or was, since the position `as_of`."""
        self.subjects.add(one)
        self.tail.revoked.catch_up(one, as_of)
        try:
            yield
        finally:
            self.subjects.discard(one)

    def _on_revoked(self, subjects: frozenset[str]) -> None:
        for each in self.subjects.of(subjects):
            each.end(End.REVOKED)

    def _on_history(self) -> None:
        """Let go of all that was of the log's other history: rows may be others now, too."""
        self.records.forget()
        self._end_streams(End.HISTORY)
        for each in self.subjects.all():
            each.end(End.HISTORY)

    def _soon(self, function: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed
            self.loop.call_soon_threadsafe(function, *args)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # Outside the request's context: asgiref would tie its thread to our task.
        task = contextvars.Context().run(self.loop.create_task, coroutine)
        self._tasks.add(task)  # asyncio itself would let it be collected
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(self) -> None:
        await self.tail.start()
        self._unsubscribe = notifier.current().subscribe(self.wake)
        notifier.current().start()

    async def _follow(self) -> None:
        await self.ready()
        await self.tail.follow()

    async def _listen(self) -> None:
        await self.ready()
        await wakes.listen(self.wake)

    # The timer ------------------------------------------------------------------

    def _on_tick(self) -> None:
        now = time.monotonic()
        self._tick = self.loop.call_later(TICK_S, self._on_tick)
        for threads in self._threads():
            threads.check(now)
        if self.is_away():
            self._end_streams(End.DATABASE_AWAY)
        self.timetable.tick(now)
        self.tail.feeds.forget_quiet(now)
        self.tail.feeds.bound(len(hubs.all_hubs()))
        self._write_soon()
        if self._is_idle(now):
            self.forget()  # now: a request in the next turn gets a new one
            self._spawn(self._finish())

    def _threads(self) -> tuple[Workers, ...]:
        return self._reader, self._thread, self.hooks, self.adapters, self._announcer

    def _write_soon(self) -> None:
        idle = self._writing is None or self._writing.done()
        if idle and self.records.due(time.monotonic()) and not self._closed:
            self._writing = self._spawn(self.write_records())

    def _is_idle(self, now: float) -> bool:
        busy = self.streams or self.tail.wakers or self.records.waits
        idle = not busy and self._started.done()
        return idle and now - self._used_at > LINGER_S

    # The end --------------------------------------------------------------------

    def _end_streams(self, reason: End) -> None:
        for stream in tuple(self.streams):
            stream.end(reason)

    async def close(self) -> None:
        """End all streams, write their records, and give thread and connection back."""
        if not self._closed:
            self.forget()
            await self._finish()

    async def _finish(self) -> None:
        self._end_streams(End.HUB_CLOSED)
        await cancel(self._tasks - {asyncio.current_task()})
        with contextlib.suppress(asyncio.TimeoutError):
            await within(EXIT_WRITE_S, self.records.leave(self.run))
        for threads in self._threads():
            threads.close()
        ended = [asyncio.wrap_future(threads.ended) for threads in self._threads()]
        _, hang = await asyncio.wait(ended, timeout=EXIT_WRITE_S)
        for waiting in hang:
            waiting.cancel()  # its thread may come back after the loop has closed

    @staticmethod
    async def close_all() -> None:
        """Close the running loop's hub, if there is one."""
        hub = hubs.of(asyncio.get_running_loop())
        if hub is not None:
            await hub.close()

    def abandon(self, timeout_s: float = EXIT_WRITE_S) -> None:
        """As close(), from outside its loop, for a loop that will not run again."""
        self.forget()
        with contextlib.suppress(Hung):  # what hangs writes nothing more
            for call in self.records.last_words():
                self._thread.submit(FIRST, *call)
        for threads in self._threads():
            threads.close()
        until = time.monotonic() + timeout_s
        for threads in self._threads():
            threads.join(max(0.0, until - time.monotonic()))

    def forget(self) -> None:
        """Have nobody find or call this hub again."""
        self._closed = True
        hubs.discard(self.loop)
        self.records.retire()
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._tick.cancel()
