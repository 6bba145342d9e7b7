"""Threads for calls that may hang: each call has a deadline, and one that hangs is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from queue import Empty, PriorityQueue
from typing import Any, NamedTuple, TypeVar

from django.db import Error as DatabaseError
from django.db import OperationalError, connections

from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST, NEXT, LAST = range(3)

# Seconds without a call after which a thread that is seldom used ends, and closes its connections.
IDLE_S = 10.0

# Seconds after which one more thread is started although too many hang: what hung may work again,
# though the threads that wait for it never return.
ONE_MORE_S = 15.0
# Seconds without a call that hangs after which the next one is logged again.
LOG_AGAIN_S = 120.0
# Frames of a thread that hangs that are logged: the innermost.
FRAMES = 5


class Hung(OperationalError):
    """A call took longer than it may, or was refused since others hang. Retry it later."""


class _Call(NamedTuple):
    """A waiting call: lower ranks first, then lower numbers. No function means the end."""

    rank: int
    number: int
    job: Future[Any]
    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()


class Workers:
    """
    Runs functions on up to `max_threads` daemon threads, each with its own database connections.

    Ignores asgiref, whose threads are shared or leak. Threads start when they are needed, and
    end `idle_s` after their last call (None: they stay). A connection stays open between calls;
    a call that fails with a database error closes it, so that the next call gets a new one. (Not
    close_old_connections() around each call: with CONN_MAX_AGE = 0 that reconnects every time,
    9 ms on PostgreSQL against 0.15 ms.)

    What a function raises is raised by its future: as RuntimeError where the error has a
    meaning to asyncio. A call that takes longer than deadline_s() fails with Hung at the
    next check(), and another thread takes the place of its thread. Daemon threads, unlike an
    executor's: a query that hangs does not keep the process from ending.
    """

    def __init__(
        self,
        name: str,
        deadline_s: Callable[[], float],
        replaced: Counter[str],
        *,
        max_threads: int = 1,
        max_hung: int = 4,
        idle_s: float | None = None,
        before: Callable[[], Any] | None = None,
    ) -> None:
        """
        `before` is called before each function, on its thread; the call raises its exceptions.

        `replaced` counts the threads that were replaced, by name. While `max_hung` of them hang,
        none is started, except one every ONE_MORE_S, and calls are refused.
        """
        self.name = name
        self.ended: Future[None] = Future()
        self.ended.set_running_or_notify_cancel()  # a caller that stops waiting cannot cancel it
        self.before = before
        self._deadline_s, self._replaced = deadline_s, replaced
        self._max_threads, self._max_hung, self._idle_s = max_threads, max_hung, idle_s
        self._calls: PriorityQueue[_Call] = PriorityQueue()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        self._working: set[_Worker] = set()
        self._hung: set[_Worker] = set()
        self._hung_since: float | None = None  # None once a call has returned in time
        self._hung_at = float("-inf")  # the last one
        self._is_logged = False
        self._idle = 0
        self._one_more_at = 0.0

    def submit(self, rank: int, function: Callable[..., T], *args: Any) -> Future[T]:
        """
        Call function(*args) on a thread; FIRST goes before what waits, NEXT after it.

        Never waits. Raises RuntimeError when closed, and Hung where too many threads hang.
        """
        job: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("The hub is closed.")
            if self._idle <= self._calls.qsize() and len(self._working) < self._max_threads:
                self._start()
            if not self._working:
                raise Hung(self._refusal())
            self._calls.put(_Call(rank, next(self._numbers), job, function, args))
        return job

    def run(self, function: Callable[..., T], *args: Any) -> Awaitable[T]:
        """As submit() at NEXT, for the running loop: await what it returns."""
        return asyncio.wrap_future(self.submit(NEXT, function, *args))

    def trouble(self) -> str | None:
        """Return for how long calls hang, None once one returned in time. From any thread."""
        with self._lock:
            if self._hung_since is None:
                return None
            return f"{self.name}: calls have hung for {time.monotonic() - self._hung_since:.0f} s"

    def refuses(self) -> bool:
        """Return whether so many calls hang that others are refused. From any thread."""
        return len(self._hung) >= self._max_hung

    def check(self, now: float) -> None:
        """Replace the threads whose call is over its deadline at time.monotonic() `now`."""
        deadline_s = self._deadline_s()
        with self._lock:
            late = [
                worker
                for worker in self._working
                if worker.call is not None and now - worker.began_at > deadline_s
            ]
            begins = bool(late) and not self._is_logged and now - self._hung_at > LOG_AGAIN_S
            self._is_logged = self._is_logged or begins
            for worker in late:
                self._give_up(worker, now)
            if late:
                self._refill()
        if begins:  # without the lock: a handler of the log may wait
            logger.error(
                "a call has hung for %d s, another thread takes its place thread=%s at\n%s",
                *(now - late[0].began_at, self.name, _where(late[0])),
            )

    def close(self) -> None:
        """End the threads, and close their connections, after the calls that wait. Never waits."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in self._working:
                self._calls.put(_Call(LAST, next(self._numbers), Future()))
            self._end()

    def join(self, timeout_s: float) -> None:
        """Wait until the threads of a closed one have ended, `timeout_s` at most."""
        with contextlib.suppress(FutureTimeoutError):
            self.ended.result(timeout_s)

    # With the lock ----------------------------------------------------------------

    def _start(self) -> None:
        """Start a thread, unless too many hang, or none can be started."""
        now = time.monotonic()
        if len(self._hung) >= self._max_hung:
            if now < self._one_more_at:
                return
            self._one_more_at = now + ONE_MORE_S
        worker = _Worker(self)
        try:
            worker.start()
        except RuntimeError:  # there are too many, or the interpreter ends
            logger.debug("no thread can be started thread=%s", self.name, exc_info=True)
        else:
            self._working.add(worker)

    def _give_up(self, worker: _Worker, now: float) -> None:
        """Give up a thread that hangs: its call fails, so that the caller can continue."""
        began_s = now - worker.began_at
        self._working.discard(worker)
        self._hung.add(worker)
        self._replaced[self.name] += 1
        worker.is_given_up = True
        if self._hung_since is None:
            self._hung_since = now - began_s
        self._hung_at = now
        if worker.call is not None:
            _fail(worker.call.job, Hung(f"{self.name}: no answer for {began_s:.0f} s"))
        if len(self._hung) == self._max_hung:
            self._one_more_at = now + ONE_MORE_S
        worker.cut()

    def _refill(self) -> None:
        """Start a thread for the calls that wait; if none can be started, they fail."""
        if not self._calls.qsize():
            return
        if not self._working:
            self._start()
        while not self._working and self._calls.qsize():
            _fail(self._calls.get().job, Hung(self._refusal()))

    def _refusal(self) -> str:
        hang = len(self._hung)
        return (
            f"{self.name}: {hang} calls hang" if hang else f"{self.name}: no thread can be started"
        )

    def _end(self) -> None:
        if self._closed and not self._working and not self.ended.done():
            self.ended.set_result(None)

    # On the threads ---------------------------------------------------------------

    def next(self, worker: _Worker) -> _Call | None:
        """Return a thread's next call; None where it must end."""
        is_over = False
        with self._lock:
            if worker.is_given_up:
                return None
            if worker.call is not None and self._hung_since is not None and not self._hung:
                # A call returned in time, and none hangs.
                is_over, self._is_logged, self._hung_since = self._is_logged, False, None
            worker.call = None
            self._idle += 1
        if is_over:
            logger.warning("no call hangs any more thread=%s", self.name)
        call = None
        with contextlib.suppress(Empty):
            call = self._calls.get(timeout=self._idle_s)
        with self._lock:
            self._idle -= 1
            if call is None and not self._closed:
                with contextlib.suppress(Empty):
                    call = self._calls.get_nowait()  # it came as `idle_s` ended
            if call is None or call.function is None:
                self._working.discard(worker)
                return None
            worker.call, worker.began_at = call, time.monotonic()
        return call

    def gone(self, worker: _Worker) -> None:
        with self._lock:
            self._working.discard(worker)
            self._hung.discard(worker)
            self._end()


class Watchdog:
    """
    Calls tick() on one daemon thread, from start() to close().

    tick() returns the seconds to its next call. It must not wait for anything, such as a database:
    it replaces calls that hang, so it must not hang itself. What it raises is logged once, and
    it is called again.
    """

    def __init__(self, tick: Callable[[], float]) -> None:
        self._tick = tick
        self._changed = threading.Condition()
        self._is_due = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._outage = Outage(logger, "watching threads")

    def start(self) -> bool:
        """
        Start the thread, unless it runs; return whether it does.

        Not while the interpreter ends: Python 3.12 starts no threads then.
        """
        with self._changed, contextlib.suppress(RuntimeError):
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name="eric-sse-watch", daemon=True)
                thread.start()
                self._thread = thread
        return self._thread is not None

    def soon(self) -> None:
        """Call tick() now. Returns at once."""
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """End the thread; waits `timeout_s` at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._is_due, pause_s)
                self._is_due = False
                if self._closed:
                    return
            pause_s = self._pause_s()

    def _pause_s(self) -> float:
        try:
            pause_s = self._tick()
        except Exception:  # noqa: BLE001 - the loop that owns this thread
            return self._outage.failed()
        self._outage.over()
        return pause_s


def _fail(job: Future[Any], error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):
        job.set_exception(error)


def _raisable(error: BaseException) -> Exception:
    """
    Return what a loop can raise for `error`: another error if that has a meaning to asyncio.

    asyncio accepts no StopIteration (3.10 to 3.12 may leave its future open), ends its loop
    on SystemExit, and cancels the task on CancelledError, also on that of concurrent.futures.
    """
    if isinstance(error, Exception) and not isinstance(error, (StopIteration, CancelledError)):
        return error
    raised = RuntimeError(f"a call raised {type(error).__name__}")
    raised.__cause__ = error
    return raised


class _Worker(threading.Thread):
    def __init__(self, workers: Workers) -> None:
        super().__init__(name=workers.name, daemon=True)
        self.call: _Call | None = None
        self.began_at = 0.0
        self.is_given_up = False
        self._workers = workers
        self._databases: list[Any] = []

    def run(self) -> None:
        try:
            self._find_databases()
            while (call := self._workers.next(self)) is not None:
                self._do(call.job, call.function, call.args)
                del call
        finally:
            disconnect()
            self._workers.gone(self)

    def _do(self, job: Future[Any], function: Any, args: tuple[Any, ...]) -> None:
        if not job.set_running_or_notify_cancel():
            return
        try:
            if self._workers.before is not None:
                self._workers.before()
            result = function(*args)
        except BaseException as error:  # noqa: BLE001 - the job raises it
            if isinstance(error, DatabaseError):
                disconnect()
            _fail(job, _raisable(error))
        else:
            try:
                job.set_result(result)
            except InvalidStateError:  # it was given up
                if inspect.iscoroutine(result):
                    result.close()

    def _find_databases(self) -> None:
        """Keep Django's connection objects of this thread: cut() is called on another."""
        for alias in connections:
            with contextlib.suppress(Exception):  # it cannot be used, so it is skipped
                self._databases.append(connections[alias])

    def cut(self) -> None:
        """Shut down the sockets of its connections: what waits for a dead link fails at once."""
        for database in self._databases:
            raw = getattr(database, "connection", None)
            for owner in (raw, getattr(raw, "_sock", None)):  # psycopg's, and PyMySQL's
                with contextlib.suppress(Exception):
                    _shut(owner)


def _shut(owner: Any) -> None:
    """Shut down a socket of another thread; may raise any error if it is closed."""
    with socket.socket(fileno=os.dup(owner.fileno())) as copy:
        owner.fileno()  # still open: the number has not been given to another file meanwhile
        copy.shutdown(socket.SHUT_RDWR)


def disconnect() -> None:
    """Close this thread's connections; raises nothing."""
    with contextlib.suppress(Exception):  # a dead connection may fail to close
        connections.close_all()


def is_given_up() -> bool:
    """Return whether the running call is over its deadline, and another thread does its work."""
    return getattr(threading.current_thread(), "is_given_up", False)


def _where(worker: _Worker) -> str:
    frame = sys._current_frames().get(worker.ident or 0)
    return "".join(traceback.format_stack(frame)[-FRAMES:]) if frame is not None else ""
