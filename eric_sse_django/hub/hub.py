"""The hub: one reader of the log and one timer for all streams of an event loop; all hubs."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import gc
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, Protocol

from eric_sse_django import conf, notifier, segments, wakes
from eric_sse_django.cancelling import cancel, retrieve, within
from eric_sse_django.counters import totals
from eric_sse_django.hub.arrivals import Announcer
from eric_sse_django.hub.backlogs import Backlogs
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.feed import LINGER_S, Feed, Subscriber
from eric_sse_django.hub.follower import Follower
from eric_sse_django.hub.hooks import Adapters, Hooks
from eric_sse_django.hub.interest import Interest
from eric_sse_django.hub.records import Records
from eric_sse_django.hub.revocations import Endable, Revocations
from eric_sse_django.log import DATABASE, Log, moment_of
from eric_sse_django.notifier import Notifier
from eric_sse_django.outage import Quiet
from eric_sse_django.workers import FIRST, NEXT, Hung, Workers

logger = logging.getLogger(__name__)

# Seconds between two rounds of heartbeats, ages, deadlines and writes.
TICK_S = 1.0
# Seconds that each hub has to write its records when the process ends.
EXIT_WRITE_S = 2.0
# Seconds a read of the log may take before its thread is replaced. It takes 1 to 20 ms.
READ_DEADLINE_S = 10.0
# Seconds for all other calls: backlogs, records, lookups.
CALL_DEADLINE_S = 30.0
# Seconds for which the log cannot be read before streams are ended: with heartbeats alone their
# clients would assume that nothing is published.
AWAY_S = 30.0
# Seconds before a client reconnects at most while the database is unavailable, at least half of
# it: of 20,000 clients some 450 reconnect in a second then.
MAX_AWAY_REST_S = 60.0
# Seconds for which a position is used again: it is as much older then. The lookup takes some
# 25 queries, and after a deploy all clients of a process need it.
PAST_FRESH_S = 60.0
# Seconds after its start in which a process has no garbage yet that survived younger collections.
FRESH_PROCESS_S = 60.0

# Not weak: a hub refers to its loop, so a WeakKeyDictionary would never release it.
_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
_refusals = Quiet()
_is_frozen = False
_loaded_at = time.monotonic()


class Timed(Protocol):
    """What on_tick() is called for; it returns when to call it next. Deadlines sets `due_at`."""

    due_at: float

    def on_tick(self, now: float) -> float: ...

    def end(self, reason: End) -> None: ...


class Deadlines:
    """
    Streams by the second in which something may be due; the others cost nothing meanwhile.

    To call each of 1,000 streams once a second took a tenth of what they cost when idle.
    """

    def __init__(self) -> None:
        self._by_second: dict[int, set[Timed]] = {}

    def add(self, stream: Timed, at: float = 0.0) -> None:
        """Call a stream at the first tick() at or after the second of `at`, a time.monotonic()."""
        stream.due_at = at
        self._by_second.setdefault(int(at), set()).add(stream)

    def discard(self, stream: Timed) -> None:
        """Remove a stream; it may be removed twice."""
        second = int(stream.due_at)
        streams = self._by_second.get(second)
        if streams is not None:
            streams.discard(stream)
            if not streams:
                del self._by_second[second]

    def hasten(self, stream: Timed) -> None:
        """Call a stream at each tick from now on, if it is not removed."""
        if stream in self._by_second.get(int(stream.due_at), ()):
            self.discard(stream)
            self.add(stream)

    def tick(self, now: float) -> None:
        """Call the streams that are due at `now`."""
        for second in [second for second in self._by_second if second <= now]:
            for stream in tuple(self._by_second[second]):
                try:
                    at = stream.on_tick(now)
                except Exception:
                    logger.exception("a stream failed at its time")
                    at = now
                    stream.end(End.ERROR)
                if stream in self._by_second.get(second, ()):
                    self.discard(stream)
                    self.add(stream, at)


class Attachable(Subscriber, Timed, Endable, Protocol):
    """What a hub serves: a stream."""


class Hub:
    """
    Delivers a log's entries to the streams of one event loop. Get it with for_running_loop().

    It has two threads with a database connection each, whatever the number of streams: one
    reads the log's end and nothing else, the other does what may take longer. `hooks` call a
    project's rules and sessions, `adapters` its adapt(). Its timer replaces threads that hang.
    It stops by itself LINGER_S after its last stream, and logs and retries all failures.
    `find_notifier` returns what sequences the log's messages.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: Log = DATABASE,
        find_notifier: Callable[[], Notifier] = notifier.current,
    ) -> None:
        self.loop = loop
        self.log = log
        self._find_notifier = find_notifier
        self.streams: set[Attachable] = set()
        self.deadlines = Deadlines()
        self.revocations = Revocations()
        self.counters = totals.of_new_hub()
        self.draining = False
        self._make_workers()
        self.follower = Follower(
            *(loop, log, self._reader.run, self.counters, self.revocations),
            *(self._on_history, self._ring),
        )
        self.wake = self.follower.wake
        self._receiver = wakes.WakeReceiver(self._receive, self.wake)
        self.interest = Interest(loop, self.follower.feeds, self.follower.queue_watchers)
        self.records = Records(
            self.run, self.counters, lambda: self.follower.newest, self._announcer.announce
        )
        self.past = Past(log, self.run)
        self.backlogs = Backlogs(log, self.run, self.counters, lambda: self.follower.known)
        self._used_at = time.monotonic()
        self._unsubscribe: Callable[[], None] | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        self._started = self._spawn(self._start())
        self._tick = loop.call_later(TICK_S, self._on_tick)

    def _make_workers(self) -> None:
        replaced, connect = self.counters.replaced, self.log.connect
        self._reader = Workers("eric-sse-hub", lambda: READ_DEADLINE_S, replaced)
        self._thread = Workers(
            "eric-sse-records", lambda: CALL_DEADLINE_S, replaced, before=connect
        )
        self.run = self._thread.run
        # While the other thread does: the first stream needs both.
        with contextlib.suppress(Hung):  # no thread can be started now: later calls try again
            self._thread.submit(NEXT, connect)
        self.hooks = Hooks("eric-sse-hooks", replaced)
        self.adapters = Adapters("eric-sse-adapt", replaced)
        self._announcer = Announcer(replaced, self._spawn)

    @staticmethod
    def for_running_loop() -> Hub:
        """Return the running loop's hub; the first call builds and starts it."""
        loop = asyncio.get_running_loop()
        hub = _hubs.get(loop)
        if hub is None:
            freeze_once()
            for other, its_hub in tuple(_hubs.items()):
                if other.is_closed():
                    its_hub.abandon(0)
            hub = _hubs[loop] = Hub(loop)
        hub._used_at = time.monotonic()
        return hub

    async def ready(self) -> None:
        """Wait until the head of the log is known, or the hub is closed."""
        # Not `await self._started`: cancelling the caller must not cancel that, nor the reverse.
        if not self._started.done():
            await asyncio.wait({self._started})

    def attach(self, stream: Attachable) -> Feed:
        """Serve a stream from here on, by the feed returned; a hub that stops ends it at once."""
        self.streams.add(stream)
        self.deadlines.add(stream)
        self.revocations.add(stream)
        self.records.opened(stream)
        channels = [each.channel for each in stream.subscriptions]
        # Reads of the log that begin from now on cover it.
        feed = self.follower.feeds.of(channels, self.follower.known.position)
        feed.add(stream)
        if self._closed or self.draining:
            stream.end(End.HUB_CLOSED if self._closed else End.DRAINING)
        elif self.follower.outage.failures and self.is_away():
            stream.end(End.DATABASE_UNAVAILABLE)
        return feed

    def is_away(self) -> bool:
        """Return whether the log could not be read for so long that streams are not served."""
        return self.follower.outage.lasts_s() > AWAY_S

    def away_rest_s(self) -> float:
        """Return the seconds after which a client is to reconnect: 0.0 while the log is read."""
        return min(self.follower.outage.lasts_s(), MAX_AWAY_REST_S) * random.uniform(0.5, 1)

    def trouble(self) -> str | None:
        """Return why streams are not served, None while they are. From any thread."""
        # Hooks that hang are a project's own: reported only if further calls are refused.
        hooks = self.hooks.trouble() if self.hooks.refuses() else None
        return self.follower.trouble() or self._thread.trouble() or hooks

    def detach(self, stream: Attachable) -> None:
        """Stop serving a stream, and write that soon. Never waits; may be called twice."""
        if stream not in self.streams:
            return
        self._used_at = time.monotonic()
        self.streams.discard(stream)
        self.deadlines.discard(stream)
        self.revocations.discard(stream)
        self.records.ended(stream)
        feed = self.follower.feeds.found(each.channel for each in stream.subscriptions)
        if feed is not None:
            feed.discard(stream)
        self._write_soon()

    def add_waker(
        self, wake: Callable[[], None], channel: int | None = None
    ) -> Callable[[], None]:
        """
        Call wake() here after each read that found something; return what ends that.

        With a `channel` also after its segments, which the hub then needs.
        """
        return self.follower.queue_watchers.add(wake, channel)

    def drain(self) -> None:
        """End all streams, each with its own `retry:`. Safe from any thread."""
        self.draining = True
        with contextlib.suppress(RuntimeError):  # the loop has closed
            self.loop.call_soon_threadsafe(self._end_streams, End.DRAINING)

    @contextlib.contextmanager
    def revocable(self, one: Endable, as_of: int) -> Iterator[None]:
        """End it once one of its subjects is revoked; or was, since the position `as_of`."""
        self.revocations.add(one)
        self.revocations.catch_up(one, as_of)
        try:
            yield
        finally:
            self.revocations.discard(one)

    def _receive(self, message: Mapping[str, Any]) -> None:
        """Take what another process's wake carries, or read the log."""
        try:
            found = segments.unpack(message)
        except segments.WakeRefused as refused:
            self.counters.segments["refused"] += 1
            if _refusals.begins("wake"):
                logger.warning("%s, the log is read: is its SECRET_KEY the same?", refused)
            found = []
        for segment in found or (None,):
            self.follower.take(segment)

    def _ring(self) -> None:
        self._find_notifier().ring()

    def _on_history(self) -> None:
        """Drop all that was of the log's other history."""
        self.records.forget()
        self._end_streams(End.HISTORY)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # Outside the request's context: asgiref would tie its thread to our task.
        task = contextvars.Context().run(self.loop.create_task, coroutine)
        self._tasks.add(task)  # asyncio itself would let it be collected
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(self) -> None:
        await self.follower.start()
        its_notifier = self._find_notifier()
        self._unsubscribe = its_notifier.subscribe(self.wake)
        its_notifier.start()
        self._spawn(self.follower.follow())
        if wakes.routes():
            self.interest.subscribe(self._receiver.want)
        self._spawn(self._receiver.run())

    # The timer ------------------------------------------------------------------

    def _on_tick(self) -> None:
        now = time.monotonic()
        self._tick = self.loop.call_later(TICK_S, self._on_tick)
        for threads in self._threads():
            threads.check(now)
        if self.is_away():
            self._end_streams(End.DATABASE_UNAVAILABLE)
        self.deadlines.tick(now)
        self.follower.feeds.forget_quiet(now)
        self.follower.feeds.bound(len(_hubs))
        self._write_soon()
        if self._is_idle(now):
            self.forget()  # now: a request in the next turn gets a new one
            self._spawn(self._finish())

    def _threads(self) -> tuple[Workers, ...]:
        others = self.backlogs.threads, self.hooks, self.adapters, self._announcer
        return self._reader, self._thread, *others

    def _write_soon(self) -> None:
        idle = self._writing is None or self._writing.done()
        if idle and self.records.due(time.monotonic()) and not self._closed:
            self._writing = self._spawn(self.records.write())

    def _is_idle(self, now: float) -> bool:
        busy = self.streams or self.follower.queue_watchers or self.records.waits
        idle = not busy and self._started.done()
        return idle and now - self._used_at > LINGER_S

    # The end --------------------------------------------------------------------

    def _end_streams(self, reason: End) -> None:
        for stream in tuple(self.streams):
            stream.end(reason)

    async def close(self) -> None:
        """End all streams, write their records, and end the threads with their connections."""
        if not self._closed:
            self.forget()
            await self._finish()

    async def _finish(self) -> None:
        self._end_streams(End.HUB_CLOSED)
        await cancel(self._tasks - {asyncio.current_task()})
        with contextlib.suppress(asyncio.TimeoutError):
            await within(EXIT_WRITE_S, self.records.close())
        for threads in self._threads():
            threads.close()
        ended = [asyncio.wrap_future(threads.ended) for threads in self._threads()]
        _, hang = await asyncio.wait(ended, timeout=EXIT_WRITE_S)
        for waiting in hang:
            waiting.cancel()  # its thread may return after the loop has closed

    @staticmethod
    async def close_all() -> None:
        """Close the running loop's hub, if there is one."""
        hub = _hubs.get(asyncio.get_running_loop())
        if hub is not None:
            await hub.close()

    def abandon(self, timeout_s: float = EXIT_WRITE_S) -> None:
        """As close(), from outside its loop, for a loop that will not run again."""
        self.forget()
        with contextlib.suppress(Hung):  # what hangs writes nothing more
            for call in self.records.final_calls():
                self._thread.submit(FIRST, *call)
        for threads in self._threads():
            threads.close()
        until = time.monotonic() + timeout_s
        for threads in self._threads():
            threads.join(max(0.0, until - time.monotonic()))

    def forget(self) -> None:
        """Remove this hub: it is no longer found or called."""
        self._closed = True
        _hubs.pop(self.loop, None)
        totals.retire(self.counters)
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._tick.cancel()


class Past:
    """
    The log's position some time ago, looked up once for all clients that need it.

    `run` calls a function on a thread of the hub. Only for the hub's loop.
    """

    def __init__(self, log: Log, run: Callable[..., Awaitable[Any]]) -> None:
        self._log = log
        self._run = run
        self._asked_at = 0.0
        self._back_s: float | None = None
        self._look: asyncio.Future[int] | None = None

    async def position(self, back_s: float) -> int:
        """
        Return a position after which comes all that was published in the last `back_s` seconds.

        What was published up to PAST_FRESH_S before may come after it too. Raises DatabaseError.
        """
        now = time.monotonic()
        is_stale = self._back_s != back_s or now - self._asked_at > PAST_FRESH_S
        if self._look is None or is_stale or (self._look.done() and self._has_failed()):
            self._asked_at, self._back_s = now, back_s
            self._look = asyncio.ensure_future(self._find(back_s))
            self._look.add_done_callback(retrieve)
        # A caller that is cancelled does not cancel it for the others.
        return await asyncio.shield(self._look)

    def _has_failed(self) -> bool:
        look = self._look
        return look is not None and (look.cancelled() or look.exception() is not None)

    async def _find(self, back_s: float) -> int:
        found: int = await self._run(self._log.position_at, moment_of(time.time() - back_s))
        return found


# This process's hubs --------------------------------------------------------------------


def all_hubs() -> list[Hub]:
    """Return the hubs of this process's loops."""
    return list(_hubs.values())


def running_hubs() -> list[Hub]:
    """Return those whose loops have not closed."""
    return [hub for loop, hub in tuple(_hubs.items()) if not loop.is_closed()]


def abandon_all() -> None:
    """Close this process's hubs, whose loops will not run again; waits 2 s for each at most."""
    for hub in all_hubs():
        hub.abandon()


def freeze_once() -> None:
    """
    Exclude what the process has in memory now from later garbage collections, at the first call.

    Django and a project's modules are 250,000 objects that stay to the end. Each full
    collection visited all of them: 80 ms without a delivery, every ten seconds or so with
    1,000 streams. Nothing where GC_FREEZE or the collector is off.
    """
    global _is_frozen
    if not _is_frozen and gc.isenabled() and conf.get("GC_FREEZE"):
        _is_frozen = True
        # What is garbage now would stay otherwise. A process that has just started Django has none
        # in the oldest generation: to look for it took 74 ms, for which the first stream waited.
        gc.collect(1 if time.monotonic() - _loaded_at < FRESH_PROCESS_S else 2)
        gc.freeze()


os.register_at_fork(after_in_child=_hubs.clear)
# Daphne, hypercorn and granian end so; uvicorn by the signal itself, after streams have ended.
atexit.register(abandon_all)
