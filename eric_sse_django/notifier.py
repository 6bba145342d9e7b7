"""After a commit: give the committed messages their positions, then wake who serves them."""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Callable

from django.db import connections, transaction

from eric_sse_django import conf, log, wakes
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

# Seconds without work after which the thread gives its database connection back.
IDLE_S = 10.0
# Seconds a process that ends waits for what it has just published to be sequenced.
EXIT_FLUSH_S = 2.0


class Notifier:
    """
    One daemon thread with its own database connection; started by the first ring.

    Rings coalesce. It carries on by itself after any failure: what was not
    sequenced has no position, and the next pass finds it.
    """

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._idle = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._wakers: frozenset[Callable[[], None]] = frozenset()
        self._layer = wakes.Sender()
        self._trim_at = 0.0
        self._outage = Outage(logger, "sequencing")

    def ring(self) -> None:
        """Have the committed messages sequenced and their streams woken. Returns at once."""
        self._idle.clear()
        self._rung.set()
        if self._thread is None:
            self.start()

    def start(self) -> None:
        """Start the thread, which also removes old messages now and then."""
        with self._lock:
            if self._thread is None and not self._closing:
                self._trim_at = time.monotonic() + _trim_pause()
                self._thread = threading.Thread(
                    target=self._run, name="eric-sse-notifier", daemon=True
                )
                self._thread.start()

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have wake() called on this thread after each sequencing; return what ends that."""
        with self._lock:
            self._wakers |= {wake}

        def unsubscribe() -> None:
            with self._lock:
                self._wakers -= {wake}

        return unsubscribe

    def flush(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Wait until what this process has committed is sequenced; False when it took longer."""
        return self._thread is None or self._idle.wait(timeout_s)

    def close(self) -> None:
        """Stop the threads and close the connection; waits two seconds each at most."""
        self._closing = True
        self._rung.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(EXIT_FLUSH_S)
        self._layer.close()

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    self._pass()
                    self._outage.over()
                except Exception:  # noqa: BLE001 - the loop that owns this thread
                    connections.close_all()
                    time.sleep(self._outage.failed())
                    self._rung.set()
        finally:
            connections.close_all()

    def _pass(self) -> None:
        self._idle.set()
        if self._rung.is_set():
            self._idle.clear()
        if self._rung.wait(self._pause()):
            self._rung.clear()  # before the reading: a ring that comes later is kept
            self._sequence()
        elif time.monotonic() >= self._trim_at:
            self._trim()
        else:
            connections.close_all()

    def _sequence(self) -> None:
        found = False
        while not self._closing and log.sequence():
            found = True
            for wake in self._wakers:
                wake()
        if found:
            self._layer.ring()

    def wake(self) -> None:
        """Wake this process's hubs, and the other processes'. Returns at once."""
        for wake in self._wakers:
            wake()
        self._layer.ring()

    def _trim(self) -> None:
        pause = _trim_pause()
        if pause and log.trim():
            pause = 0.05  # there may be more: soon, but after who rings meanwhile
        self._trim_at = time.monotonic() + (pause or IDLE_S)

    def _pause(self) -> float:
        return max(0.0, min(IDLE_S, self._trim_at - time.monotonic()))


def _trim_pause() -> float:
    """Return the seconds to the next trim, jittered so that processes take turns; 0: never."""
    pause: float = conf.get("TRIM_INTERVAL_S")
    return pause * random.uniform(0.75, 1.25)


_current: Notifier | None = None
_current_lock = threading.Lock()


def current() -> Notifier:
    """Return this process's notifier."""
    global _current
    if _current is None:
        with _current_lock:
            if _current is None:
                _current = Notifier()
    return _current


def ring() -> None:
    """Have the committed messages sequenced and their streams woken. Returns at once."""
    current().ring()


def ring_on_commit() -> None:
    """Ring when the caller's transaction commits; at once without one. A rollback wakes nobody."""
    if not owes():
        transaction.on_commit(ring, using=log.database(), robust=True)


def owes() -> bool:
    """Whether the caller's transaction has published, and rings when it commits."""
    waiting = connections[log.database()].run_on_commit
    return any(callback is ring for _, callback, *_ in waiting)


def settle() -> None:
    """
    Give positions to what the caller can see.

    Inside the caller's transaction that is done only for what it published itself
    (it then holds the log's order until it ends): what others committed is left to
    the notifier, so that a slow request delays nobody.
    """
    if not log.pending().exists():
        return
    if connections[log.database()].in_atomic_block and not owes():
        ring()
        return
    sequenced = 0
    while count := log.sequence():
        sequenced += count
    if sequenced:
        transaction.on_commit(current().wake, using=log.database(), robust=True)


def flush(timeout_s: float = EXIT_FLUSH_S) -> bool:
    """Wait until what this process has committed is sequenced; False when it took longer."""
    return _current is None or _current.flush(timeout_s)


def close() -> None:
    """Stop this process's notifier; the next ring starts another."""
    global _current
    with _current_lock:
        closing, _current = _current, None
    if closing is not None:
        closing.close()


def _forget_after_fork() -> None:
    # The parent's thread is not here, and its locks may be held for ever.
    global _current, _current_lock
    _current, _current_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(flush)
