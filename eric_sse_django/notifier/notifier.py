"""Sequencing, waking and trimming, on separate threads; and when a publisher rings for that."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

from django.db import connections

from eric_sse_django import conf, instruments, log, segments, wakes
from eric_sse_django.counters import Delays
from eric_sse_django.log import (
    DATABASE,
    SEGMENT_MESSAGES,
    SEQUENCE_BATCH,
    Log,
    Segment,
    all_chores,
)
from eric_sse_django.notifier.trimmer import Trimmer
from eric_sse_django.notifier.window import Window
from eric_sse_django.outage import Outage
from eric_sse_django.workers import IDLE_S, NEXT, Hung, Watchdog, Workers, disconnect, is_given_up

logger = logging.getLogger(__name__)

Wake: TypeAlias = "Callable[[Segment | None], None]"

# Seconds at most between two passes while more than one message comes in the time of a pass. The
# rests grow from as long as a pass takes: a few messages at once need not wait, and those of a
# publisher that continues share a commit. Without rests there was a commit here for each of the
# publisher's, and publishing on PostgreSQL took a third longer.
MAX_PASS_REST_S = 0.01
# Seconds a pass may take before its thread is replaced, and messages wait for one: longer,
# and it hangs in a query. A batch takes 20 ms.
STUCK_S = 10.0
# Seconds between two checks whether a pass hangs.
WATCH_S = 5.0
# Seconds a process that ends waits for what it has just published to be sequenced.
EXIT_FLUSH_S = 2.0
# Segments of what was published alone that wait for the thread; when exceeded, the log is read.
MAX_TO_PASS_ON = 64
# Seconds a transaction waits for the notifier. 2 ms were measured; this is for a busy one.
SETTLE_S = 0.1


class Notifier:
    """
    Gives positions on a daemon thread with its own database connection, which ring() starts.

    All calls of ring() during a pass share the next one. It continues by itself after any
    failure: what was not sequenced has no position, and the next pass finds it. If a pass hangs,
    another thread with another connection does its work.

    `routes` is true if processes get only the segments of channels that they want: then these
    have their `afters`.
    """

    def __init__(self, log: Log = DATABASE, routes: bool = False) -> None:
        self._log = log
        self.routes = routes
        self._window = Window(log)
        self._changed = threading.Condition()
        self._asked = 0
        self._answered = 0  # of the calls of ring(): their messages are sequenced
        self._to_pass_on = 0  # segments, of what was published alone
        self._passed_on = 0  # of these
        self._is_planned = False  # a pass that has not begun does what was asked so far
        self._call: Future[None] | None = None  # that is planned, or runs
        self._closing = False
        self._is_started = False
        self._wakers: frozenset[Wake] = frozenset()
        self._is_flooded = False  # the last pass gave positions to more than a segment has
        self.replaced: Counter[str] = Counter()  # threads that hung, by name
        self._workers = Workers("eric-sse-notifier", lambda: STUCK_S, self.replaced, idle_s=IDLE_S)
        self._watch = Watchdog(self._tick)
        # Those of other apps concern the database.
        chores = all_chores if log is DATABASE else tuple
        self._trimmer = Trimmer(log, self.replaced, self._watch.soon, chores)
        self._sender = wakes.WakeSender(segments.pack)
        self._rest_s = 0.0
        self._began_at = float("-inf")  # the last pass
        self._rung_at: float | None = None  # the first ring that no pass has begun for
        self._serves: float | None = None  # the first ring that the present pass is for
        self._is_kept = False  # the connection is of an earlier pass
        self._owes_wake = False  # to other processes, at the end of the batches
        self.delays = Delays()  # from ring(), at the commit, to the positions
        self.sequenced = 0  # messages
        self._outage = Outage(logger, "sequencing")

    def ring(self) -> None:
        """Sequence the committed messages and wake their streams, soon. Returns at once."""
        with self._changed:
            self._asked += 1
            self._rung_at = self._rung_at or time.monotonic()
        self._plan()
        if not self._is_started:
            self.start()

    def pass_on(self, segment: Segment) -> None:
        """Wake the streams of messages that have their positions already. Returns at once."""
        with self._changed:
            self.sequenced += segment.known.position - segment.before.position
        placed = self._window.place_at_once(segment) if self.routes else segment
        if placed is not None:
            self._wake_all(placed)
        elif not self._pass_on_later(segment):
            self.wake()
        if not self._is_started:
            self.start()

    def pass_all_on(self, segments: Sequence[Segment]) -> None:
        """As pass_on(), of several in their order; without any, the log is read."""
        for segment in segments:
            self.pass_on(segment)
        if not segments:
            self.wake()

    def _pass_on_later(self, segment: Segment) -> bool:
        """
        Pass on by the thread: it may take a query to find what others have sequenced.

        Returns False where too many wait for it, or it cannot be started.
        """
        with self._changed:
            if self._to_pass_on - self._passed_on >= MAX_TO_PASS_ON:
                return False
            self._to_pass_on += 1
        try:
            call = self._workers.submit(NEXT, self._pass_on_placed, segment)
        except (Hung, RuntimeError):
            self._note_passed_on()
            return False
        call.add_done_callback(self._note_passed_on)
        return True

    def _note_passed_on(self, _: object = None) -> None:
        with self._changed:
            self._passed_on += 1
            self._changed.notify_all()

    def _pass_on_placed(self, segment: Segment) -> None:
        try:
            self._wake_all(self._window.place(segment))
        except Exception:
            disconnect()
            self.wake()
            logger.warning("what was published cannot be passed on, it is read", exc_info=True)

    def _wake_all(self, segment: Segment) -> None:
        self._wake_hubs(segment)
        self._sender.wake(segment)

    def start(self) -> None:
        """Remove old messages from time to time, and get ready to send wakes. Returns at once."""
        if not self._closing:
            self._is_started = self._watch.start()
            self._sender.start()

    def prepare(self) -> None:
        """Start, and connect to the database, before the first ring()."""
        with contextlib.suppress(Hung, RuntimeError):
            self._workers.submit(NEXT, _connect)
        self.start()

    def subscribe(self, wake: Wake) -> Callable[[], None]:
        """
        Call wake(segment) on a thread after each sequencing; return what ends that.

        The segment has what got positions, as far as it was passed on; else it is None.
        """
        with self._changed:
            self._wakers |= {wake}

        def unsubscribe() -> None:
            with self._changed:
                self._wakers -= {wake}

        return unsubscribe

    def flush(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """
        Wait until what this process has committed is sequenced, and passed on.

        Returns False when it took longer.
        """
        with self._changed:
            asked, to_pass_on = self._asked, self._to_pass_on

            def is_done() -> bool:
                return self._answered >= asked and self._passed_on >= to_pass_on

            self._changed.wait_for(lambda: self._closing or is_done(), timeout_s)
            return is_done()

    def close(self) -> None:
        """Stop the threads and close the connections; waits two seconds for each at most."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._workers.close()
        self._trimmer.close()
        self._watch.close(EXIT_FLUSH_S)
        self._workers.join(EXIT_FLUSH_S)
        self._trimmer.join(EXIT_FLUSH_S)
        self._sender.close()

    def trouble(self) -> str | None:
        """Return why it does not sequence, None while it does or has nothing to do."""
        if self._closing:
            return None
        since = self._serves or self._rung_at
        waits_s = 0.0 if since is None else time.monotonic() - since
        stuck = f"nothing has been sequenced for {waits_s:.0f} s" if waits_s > STUCK_S else None
        return self._outage.trouble or stuck

    def wake(self) -> None:
        """Wake this process's hubs, and the other processes'. Returns at once."""
        self._wake_hubs()
        self._sender.wake()

    def sequence_here(self) -> None:
        """Sequence and wake on the caller's thread; raises what the database does."""
        while count := self._log.sequence():
            self.sequenced += count
            self.wake()

    # Planning -----------------------------------------------------------------------

    def _plan(self) -> None:
        """Begin a pass soon, unless one that has not begun is planned."""
        with self._changed:
            if self._is_planned and not (self._call is not None and self._call.done()):
                return
            self._is_planned, self._call = True, None
        self._submit(self._pass)

    def _submit(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._call = self._workers.submit(NEXT, function, *args)
        except (Hung, RuntimeError):
            # Too much hangs, or the interpreter ends: the next tick, ring or poll does it.
            self._is_planned = False

    def _tick(self) -> float:
        """Replace what hangs, remove what is old; return the seconds to the next call."""
        now = time.monotonic()
        replaced = self.replaced[self._workers.name]
        self._workers.check(now)
        if self.replaced[self._workers.name] != replaced:
            self._begin_again()
        elif self._rung_at is not None:
            self._plan()  # it was refused while too much hung, or no thread could be started
        self._sender.check(now)
        return min(WATCH_S, self._trimmer.tick(now))

    def _begin_again(self) -> None:
        """Plan another pass instead of one that hangs."""
        with self._changed:
            self._rung_at, self._serves = self._serves or self._rung_at, None
            self._is_kept, self._owes_wake = False, True
        self._window = Window(self._log)  # the other one is of the thread that hangs
        self._plan()

    # On the thread ------------------------------------------------------------------

    def _pass(self) -> None:
        """Sequence a batch of what was asked; on a failure try it again."""
        with self._changed:
            asked, self._is_planned = self._asked, False
            self._serves, self._rung_at = self._serves or self._rung_at, None
        try:
            self._sequence(asked)
        except Exception:  # noqa: BLE001 - the loop that owns these calls
            self._failed()

    def _sequence(self, asked: int) -> None:
        began = time.monotonic()
        given: list[Segment] = []
        count = self._log.sequence(given.append if self._wants_segment() else None)
        if count:  # a pass that finds nothing follows each full batch
            self._is_flooded = count > SEGMENT_MESSAGES
        self.sequenced += count
        if is_given_up():
            self.wake()
            return
        since, self._serves = self._serves, None
        if since is not None:
            self.delays.note(time.monotonic() - since)
        # Also when there was none: another process did it first, and may have no way to wake
        # the hubs of this one.
        segment = self._placed(given[0]) if given else None
        self._wake_hubs(segment)
        self._is_kept = True
        if self._outage.failures:
            self._outage.over()
        if count == SEQUENCE_BATCH and not self._closing:
            self._owes_wake = True
            self._plan()
            return
        owes, self._owes_wake = self._owes_wake, False
        if owes or count:
            self._sender.wake(None if owes else segment)
        with self._changed:
            served, self._answered = asked - self._answered, asked
            self._changed.notify_all()
        self._rest(began, served, is_asked=self._asked != asked)

    def _wants_segment(self) -> bool:
        """Return whether a hub or another process may take what gets positions next."""
        if self._is_flooded:
            return False
        is_carried = self._sender.is_used and conf.get("WAKES_CARRY") != segments.NOTHING
        return bool(self._wakers) or is_carried

    def _placed(self, segment: Segment) -> Segment:
        return self._window.place(segment) if self.routes else segment

    def _rest(self, began: float, served: int, is_asked: bool) -> None:
        """Pause after a pass for `served` messages, if the next one has come, or comes soon."""
        pass_s = time.monotonic() - began
        cycle_s, self._began_at = began - self._began_at, began
        # Without the second condition, each message of a publisher whose own commits take longer
        # than a pass had a pass.
        if is_asked or served * pass_s > cycle_s:
            self._rest_s = min(max(pass_s, 2 * self._rest_s), MAX_PASS_REST_S)
            time.sleep(self._rest_s)
        else:
            self._rest_s = 0.0

    def _failed(self) -> None:
        """Try it again: at once on a new connection, else after a while."""
        disconnect()
        if is_given_up():
            return
        kept, self._is_kept = self._is_kept, False
        # It may have been committed, and the answer lost: other processes must read the log.
        self._owes_wake = True
        if kept:
            # Servers and poolers close what was idle for a while: not logged as an error.
            logger.debug("sequencing failed on a kept connection, connecting again", exc_info=True)  # noqa: LOG014
            self._plan()
            return
        with self._changed:
            self._is_planned = True
        self._submit(self._later, self._outage.failed())

    def _later(self, delay_s: float) -> None:
        """Wait, then plan a pass; a separate call, with its own deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, delay_s)
        if not self._closing:
            self._submit(self._pass)

    def _wake_hubs(self, segment: Segment | None = None) -> None:
        for wake in self._wakers:
            with contextlib.suppress(Exception):  # the hub's own failure
                wake(segment)


# This process's -----------------------------------------------------------------------

_current: Notifier | None = None
_current_lock = threading.Lock()


def current() -> Notifier:
    """Return this process's notifier."""
    global _current
    if _current is None:
        with _current_lock:
            if _current is None:
                _current = Notifier(routes=wakes.routes())
    return _current


def started() -> Notifier | None:
    """Return this process's notifier, None if none was needed yet."""
    return _current


def ring() -> None:
    """Sequence the committed messages and wake their streams, soon. Returns at once."""
    (_current or current()).ring()


def publish(drafts: Sequence[log.Draft]) -> None:
    """Append messages in the caller's transaction, and wake their streams when it commits."""
    if instruments.makers:
        with instruments.publishing(drafts):
            _publish(drafts)
    else:
        _publish(drafts)


def _publish(drafts: Sequence[log.Draft]) -> None:
    prepare()
    if len(drafts) == 1:
        published(log.append_one(drafts[0]))
    else:
        log.append(drafts)
        ring_on_commit()


def published(segment: Segment | None) -> None:
    """Wake the streams of what was appended: at once for a segment, else when it is committed."""
    if segment is None:
        ring_on_commit()
    else:
        current().pass_on(segment)


def prepare() -> None:
    """
    Let the process's first notifier connect while the caller inserts; see ring_on_commit().

    One after the other took 5 ms longer for the first message of a process. Not in a transaction,
    which may be rolled back, and not on SQLite, which connects in 0.2 ms.
    """
    if _current is not None:
        return
    dialect = log.log_dialect()
    # A message that gets its position with its INSERT needs no notifier.
    if dialect.connection.get_autocommit() and not (dialect.is_file or dialect.places):
        current().prepare()


def _connect() -> None:
    connections[log.database()].ensure_connection()


def ring_on_commit() -> None:
    """
    Ring when the caller's transaction commits; at once without one. A rollback rings nothing.

    Not in a transaction that Django does not manage (`set_autocommit(False)`), whose end it
    does not see: the polls of the hubs find what was committed.
    """
    dialect = log.log_dialect()
    connection = dialect.connection
    if connection.in_atomic_block:
        is_needed = not _owes(connection)
    else:
        is_needed = connection.get_autocommit()
    if is_needed:
        # In memory another thread has another database, or meets locked tables.
        connection.on_commit(_sequence_here if dialect.is_in_memory else ring, robust=True)


def _sequence_here() -> None:
    """Do the notifier's work on the caller's thread."""
    current().sequence_here()


def _owes(connection: Any) -> bool:
    """Return whether the caller's transaction has published, and rings when it commits."""
    return any(callback in (ring, _sequence_here) for _, callback, *_ in connection.run_on_commit)


def settle() -> None:
    """
    Give positions to what others have committed; waits SETTLE_S at most.

    In a transaction of the caller the notifier gives them: given here, they would lock the head
    until the commit. So what that transaction has published itself has none before its end. (In
    the transaction of a Django TestCase, which never ends, it is given one here.)
    """
    if not log.head().waits:
        return
    connection = connections[log.database()]
    if connection.get_autocommit() or _may_sequence_within(connection):
        sequenced = 0
        while count := log.sequence():
            sequenced += count
        if sequenced:
            connection.on_commit(current().wake, robust=True)
    elif not (_keeps_others_out(connection) and _owes(connection)):
        ring()
        flush(SETTLE_S)


def _may_sequence_within(connection: Any) -> bool:
    """Return whether the caller's transaction may give positions: where nothing waits for it."""
    if not connection.in_atomic_block:
        return False
    if any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        return True
    # A transaction of SQLite is the only one that writes. Its own messages get theirs at its
    # commit, so that a project sees the same there as on other databases.
    return _keeps_others_out(connection) and not _owes(connection)


def _keeps_others_out(connection: Any) -> bool:
    """Return whether the caller's transaction keeps the notifier from writing, as on SQLite."""
    is_alone: bool = not connection.features.has_select_for_update
    return is_alone and connection.in_atomic_block


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


def _end() -> None:
    flush()
    wakes.flush()
    close()  # Python 3.13 warns of an SQLite connection that is left open


def _forget_after_fork() -> None:
    # The parent's thread is not in the child, and its locks may be held forever.
    global _current, _current_lock
    _current, _current_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_end)
