"""The thread that sequences, wakes and trims."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import connections

from eric_sse_django import conf, log, wakes
from eric_sse_django.delays import Delays
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

# Seconds without work after which the thread gives its database connection back.
IDLE_S = 10.0
# Seconds between two batches of a trim, so that who rings meanwhile comes first.
TRIM_GAP_S = 0.05
# Seconds at most between two passes while it is rung during each. The rests grow from as long
# as a pass takes: a few messages at once need not wait, and those of a publisher that goes on
# share a commit. Without rests PostgreSQL synced one for each of the publisher's own, which
# took a third longer.
MOST_REST_S = 0.01
# Seconds a ring may go unanswered: longer, and the thread hangs in a query. A batch takes 20 ms.
STUCK_S = 10.0
# Seconds a process that ends waits for what it has just published to be sequenced.
EXIT_FLUSH_S = 2.0


class Notifier:
    """
    One daemon thread with its own database connection; started by the first ring.

    Rings coalesce. It carries on by itself after any failure: what was not
    sequenced has no position, and the next pass finds it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = 0
        self._answered = 0  # of the rings asked: what they were for is sequenced
        self._thread: threading.Thread | None = None
        self._closing = False
        self._wakers: frozenset[Callable[[], None]] = frozenset()
        self._layer = wakes.Sender()
        self._trim_at = 0.0
        self._rest_s = 0.0
        self._rung_at: float | None = None  # the first ring that no pass has begun for
        self._serves: float | None = None  # the first ring that the present pass is for
        self.delays = Delays()  # from a ring, at the commit, to the positions
        self.sequenced = 0  # messages
        self._outage = Outage(logger, "sequencing")
        self._trim_outage = Outage(logger, "removing old messages")

    def ring(self) -> None:
        """Have the committed messages sequenced and their streams woken. Returns at once."""
        with self._changed:
            self._asked += 1
            self._rung_at = self._rung_at or time.monotonic()
            self._changed.notify_all()
        self.start()

    def start(self) -> None:
        """
        Start the thread, which also removes old messages now and then; and the layer's.

        Not while the interpreter ends: 3.12 starts no threads then, and what is published so
        late is found by others' polls.
        """
        with self._changed, contextlib.suppress(RuntimeError):
            if self._thread is None and not self._closing:
                self._trim_at = time.monotonic() + (_trim_pause() or IDLE_S)
                thread = threading.Thread(target=self._run, name="eric-sse-notifier", daemon=True)
                thread.start()
                self._thread = thread
                self._layer.start()

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have wake() called on this thread after each sequencing; return what ends that."""
        with self._changed:
            self._wakers |= {wake}

        def unsubscribe() -> None:
            with self._changed:
                self._wakers -= {wake}

        return unsubscribe

    def flush(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Wait until what this process has committed is sequenced; False when it took longer."""
        with self._changed:
            asked = self._asked
            self._changed.wait_for(lambda: self._closing or self._answered >= asked, timeout_s)
            return self._answered >= asked

    def close(self) -> None:
        """Stop the threads and close the connection; waits two seconds each at most."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(EXIT_FLUSH_S)
        self._layer.close()

    @property
    def outages(self) -> tuple[Outage, Outage]:
        """What it does that may fail: sequencing, and removing old messages."""
        return self._outage, self._trim_outage

    def trouble(self) -> str | None:
        """Return why it does not sequence, None while it does or has nothing to do."""
        if self._closing:
            return None
        if self._thread is not None and not self._thread.is_alive():
            return "its thread has ended"
        since = self._serves or self._rung_at
        waits_s = 0.0 if since is None else time.monotonic() - since
        stuck = f"nothing is sequenced for {waits_s:.0f} s" if waits_s > STUCK_S else None
        return self._outage.trouble or stuck

    def wake(self) -> None:
        """Wake this process's hubs, and the other processes'. Returns at once."""
        self._wake_hubs()
        self._layer.ring()

    def sequence_here(self) -> None:
        """Sequence and wake on the caller's thread; raises what the database does."""
        while count := log.sequence():
            self.sequenced += count
            self.wake()

    def _run(self) -> None:
        try:
            while (asked := self._next()) is not None:
                rung, late = asked > self._answered, time.monotonic() >= self._trim_at
                if rung:
                    self._answer(asked)
                if late:
                    self._trim()
                if not rung and not late:
                    _disconnect()
        finally:
            _disconnect()

    def _next(self) -> int | None:
        """Return the rings so far, when there is something to do; None at the end."""
        with self._changed:
            pause = max(0.0, min(IDLE_S, self._trim_at - time.monotonic()))
            self._changed.wait_for(lambda: self._closing or self._asked > self._answered, pause)
            return None if self._closing else self._asked

    def _answer(self, asked: int) -> None:
        """Sequence what the rings were for; on a failure wait, and leave it to the next pass."""
        began = time.monotonic()
        try:
            self._sequence()
        except Exception:  # noqa: BLE001 - the loop that owns this thread
            _disconnect()
            delay_s = self._outage.failed()
            with self._changed:
                self._changed.wait_for(lambda: self._closing, delay_s)
            return
        self._outage.over()
        with self._changed:
            self._answered = asked
            self._changed.notify_all()
        self._rest(time.monotonic() - began, goes_on=self._asked > asked)

    def _rest(self, pass_s: float, goes_on: bool) -> None:
        self._rest_s = min(max(pass_s, 2 * self._rest_s), MOST_REST_S) if goes_on else 0.0
        # Not on the condition, which each ring would wake.
        time.sleep(self._rest_s)

    def _sequence(self) -> None:
        found, count = 0, log.SEQUENCE_BATCH
        while count == log.SEQUENCE_BATCH and not self._closing:
            count = self._sequence_batch()
            found += count
            # Also when there was none: another process did it before us, and may have no way
            # to wake our hubs.
            self._wake_hubs()
        if found:
            self._layer.ring()

    def _sequence_batch(self) -> int:
        """Return how many got a position; note how long the first ring for them has waited."""
        with self._changed:
            self._serves, self._rung_at = self._serves or self._rung_at, None
        count = log.sequence()
        self.sequenced += count
        since, self._serves = self._serves, None
        if since is not None:
            self.delays.note(time.monotonic() - since)
        return count

    def _wake_hubs(self) -> None:
        for wake in self._wakers:
            wake()

    def _trim(self) -> None:
        pause = _trim_pause()
        # Set before: one that fails is tried again at its next time, not at once.
        self._trim_at = time.monotonic() + (pause or IDLE_S)
        if not pause:
            _disconnect()
            return
        try:
            if log.trim():
                self._trim_at = time.monotonic() + TRIM_GAP_S
            else:
                log.forget_lapsed()
        except Exception:  # noqa: BLE001 - the loop that owns this thread
            _disconnect()
            self._trim_outage.failed()
        else:
            self._trim_outage.over()


def _disconnect() -> None:
    with contextlib.suppress(DatabaseError):  # a dead connection may fail to close
        connections.close_all()


def _trim_pause() -> float:
    """Return the seconds to the next trim, jittered so that processes take turns; 0: never."""
    pause: float = conf.get("TRIM_INTERVAL_S")
    return pause * random.uniform(0.75, 1.25)
