"""
The thread of a process that writes the output of all its runs, together.

1,000 runs with 50 tokens a second are not 50,000 commits: what comes within RUNS_FLUSH_S of the
last flush waits for the next. The first chunk is written at once.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from eric_sse_django import conf, notifier
from eric_sse_django.log import DATABASE
from eric_sse_django.outage import Outage
from eric_sse_django.runs import fence
from eric_sse_django.runs.ends import given_up, lost
from eric_sse_django.runs.fence import Flush
from eric_sse_django.runs.output import Output
from eric_sse_django.workers import IDLE_S, NEXT, Hung, Watchdog, Workers, disconnect, is_given_up

logger = logging.getLogger(__name__)

# Seconds that a flush may take before another thread with another connection does its work.
STUCK_S = 10.0
# Seconds between two checks whether runs that write nothing are to stop.
CHECK_S = 0.25
# Seconds between two calls of a process that has no runs.
NONE_S = 5.0
# Seconds that a process that ends, or forks, waits for its output to be written.
EXIT_FLUSH_S = 2.0
# Leases are renewed after this part of RUNS_LEASE_S without a flush.
RENEWED_AFTER = 1 / 3


class Writer:
    """
    Writes what the outputs of this process have, on a thread with its own connection.

    A flush that fails is repeated until it works. If one hangs, another thread does its work: the
    fence lets only one of them write.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        # By object: a run that was taken over within the process has two.
        self._outputs: dict[Output, None] = {}
        self._dirty: dict[Output, None] = {}
        self._writing: list[Output] = []  # what a flush has taken that has no answer yet
        self._urgent: dict[Output, None] = {}  # of those that wait
        self._size = 0  # characters that wait
        self._full_at = 0  # of these; read from the settings at each flush, not at each write
        self._is_planned = False
        self._closing = False
        self._began_at = float("-inf")  # the last flush of all that waited
        self._took_s = 0.0
        self._checking: Future[None] | None = None
        self._outage = Outage(logger, "writing the output of runs")
        self._replaced: Counter[str] = Counter()
        self._workers = Workers("eric-sse-runs", lambda: STUCK_S, self._replaced, idle_s=IDLE_S)
        self._watch = Watchdog(self._tick)
        self.flushes = 0

    def open(self, output: Output) -> None:
        """Write an output from now on, and renew its lease."""
        with self.changed:
            self._outputs[output] = None
            self._full_at = conf.get("RUNS_FLUSH_BYTES")
        # While the producer gets its first chunk: to connect takes PostgreSQL 9 ms, twice.
        with contextlib.suppress(Hung, RuntimeError):
            self._workers.submit(NEXT, DATABASE.connect)
        notifier.current().prepare()
        self._watch.start()
        self._watch.soon()

    def forget(self, output: Output) -> None:
        """Write an output no more."""
        with self.changed:
            self._outputs.pop(output, None)

    def note(self, output: Output, size: int, is_urgent: bool = False) -> None:
        """Write what an output has, soon. Called with the lock `changed`."""
        self._dirty[output] = None
        self._size += size
        if is_urgent:
            self._urgent[output] = None
        if is_urgent or self._is_full:
            self.changed.notify_all()
        if not self._is_planned:
            self._plan()

    @property
    def _is_full(self) -> bool:
        return self._size >= self._full_at

    def outputs(self) -> list[Output]:
        """Return the outputs that are open."""
        with self.changed:
            return list(self._outputs)

    def flush(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Wait until all that was written before is committed; False when it took longer."""
        with self.changed:
            marks = [(output, output.index) for output in [*self._dirty, *self._writing]]
            for output in tuple(self._dirty):
                self.note(output, 0, is_urgent=True)
            return self.changed.wait_for(
                lambda: self._closing or all(each.has_written(index) for each, index in marks),
                timeout_s,
            )

    def look(self, run: int) -> None:
        """Look soon whether a run is to stop."""
        with self.changed:
            for output in self._outputs:
                if output.run == run:
                    output.seen_at = float("-inf")
                    self._watch.soon()

    def release(self) -> None:
        """Write what waits, and end what has no end as lost: the process ends."""
        with self.changed:
            for output in self._outputs:
                if not output.has_end:
                    is_repeated = output.held.is_repeated
                    output.set_end(
                        *(given_up() if is_repeated else lost("Its process has ended."))
                    )
                    self.note(output, 0, is_urgent=True)
            is_refused = bool(self._dirty) and not self._is_planned
        if is_refused:  # from Python 3.12 on no thread can be started at exit
            self._pass()
        self.flush()

    def close(self) -> None:
        """Stop the threads; waits two seconds for each at most."""
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        self._watch.close(EXIT_FLUSH_S)
        self._workers.close()
        self._workers.join(EXIT_FLUSH_S)

    # Planning -----------------------------------------------------------------------

    def _plan(self, function: Callable[..., None] | None = None, *args: Any) -> None:
        self._is_planned = True
        try:
            self._workers.submit(NEXT, function or self._pass, *args)
        except (Hung, RuntimeError):
            self._is_planned = False  # the next tick does it

    def _tick(self) -> float:
        """Replace what hangs, renew leases, and look for runs that are to stop."""
        now = time.monotonic()
        replaced = self._replaced[self._workers.name]
        self._workers.check(now)
        with self.changed:
            if self._replaced[self._workers.name] != replaced:
                self._is_planned = False
                self._again(self._writing)
            if self._dirty and not self._is_planned:
                self._plan()
            has_runs = bool(self._outputs)
        is_free = self._checking is None or self._checking.done()
        if has_runs and is_free and not self._outage.failures:
            with contextlib.suppress(Hung, RuntimeError):
                self._checking = self._workers.submit(NEXT, self._check)
        return CHECK_S if has_runs else NONE_S

    # On the thread ------------------------------------------------------------------

    def _pass(self) -> None:
        """Write what waits; on a failure try it again."""
        outputs, flushes, are_all = self._take()
        try:
            answers = _written(flushes) if flushes else []
        except Exception:  # noqa: BLE001 - the loop that owns these calls
            self._failed(outputs)
            return
        if is_given_up():
            return
        self._outage.over()
        with self.changed:
            self.flushes += 1
            if are_all:
                self._took_s = time.monotonic() - self._began_at
            for output, answer in zip(outputs, answers, strict=True):
                if output.answered(answer):
                    self._dirty[output] = None
            self._is_planned, self._writing = False, []
            if self._dirty:
                self._plan()
            self.changed.notify_all()

    def _take(self) -> tuple[list[Output], list[Flush], bool]:
        """
        Wait for RUNS_FLUSH_S after the last flush began, or urgency; return what must be written.

        That is all, except that what is urgent is written alone if the others can wait.
        """
        flush_s, full_at = conf.several("RUNS_FLUSH_S", "RUNS_FLUSH_BYTES")
        # At most half of the time, also where a flush takes longer than it may wait.
        until = self._began_at + max(flush_s, 2 * self._took_s)
        with self.changed:
            self._full_at = full_at
            while not (self._urgent or self._is_full or self._closing):
                rest_s = until - time.monotonic()
                if rest_s <= 0 or not self.changed.wait(rest_s):
                    break
            are_all = self._is_full or self._closing or time.monotonic() >= until
            are_all = are_all or not self._urgent
            outputs = self._writing = list(self._dirty if are_all else self._urgent)
            for output in outputs:
                self._dirty.pop(output, None)
            self._size = 0 if are_all else max(0, self._size - sum(each.size for each in outputs))
            self._urgent = {}
            if are_all:
                self._began_at = time.monotonic()
            flushes = [output.take() for output in outputs]
        return outputs, flushes, are_all

    def _failed(self, outputs: Iterable[Output]) -> None:
        disconnect()
        if is_given_up():
            return
        with self.changed:
            self._again(outputs)
            self._plan(self._later, self._outage.failed())

    def _again(self, outputs: Iterable[Output]) -> None:
        self._dirty = dict.fromkeys(outputs) | self._dirty
        self._writing = []

    def _later(self, delay_s: float) -> None:
        """Wait, then write: a separate call, with its own deadline."""
        with self.changed:
            self.changed.wait_for(lambda: self._closing, delay_s)
            self._plan()

    def _check(self) -> None:
        """Renew the leases of runs that write nothing, and find those that are to stop."""
        renew_s, now = conf.get("RUNS_LEASE_S") * RENEWED_AFTER, time.monotonic()
        with self.changed:
            quiet = [each for each in self._outputs if now - each.seen_at >= CHECK_S]
            for each in quiet:
                if each.waits or now - each.seen_at >= renew_s:
                    self.note(each, 0)
        if not quiet:
            return
        states = fence.look([each.run for each in quiet])
        with self.changed:
            for each in quiet:
                each.looked(states.get(each.run))
            self.changed.notify_all()


def _written(flushes: list[Flush]) -> list[fence.Answer]:
    try:
        return fence.write(flushes)
    except fence.REFUSALS:
        return fence.write_apart(flushes)


class Here:
    """
    As a Writer, on the threads of the callers, and for one output.

    For a transaction of the caller, of which other threads see nothing, and for SQLite in memory.
    In a coroutine it writes when flush() is called.
    """

    def __init__(self, is_async: bool = False) -> None:
        self.changed = threading.Condition()
        self._is_async = is_async
        self._output: Output | None = None
        self._flushed_at = float("-inf")

    def open(self, output: Output) -> None:
        self._output = output

    def forget(self, output: Output) -> None:
        self._output = None

    def note(self, output: Output, size: int, is_urgent: bool = False) -> None:
        """Write what an output has, if RUNS_FLUSH_S are over."""
        is_due = time.monotonic() - self._flushed_at >= conf.get("RUNS_FLUSH_S")
        if (is_due or is_urgent) and not self._is_async:
            self.flush()

    def flush(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Write what the output has; raises what the database does."""
        output = self._output
        if output is not None and output.waits:
            output.answered(*fence.write([output.take()]))
            self._flushed_at = time.monotonic()
        return True


# This process's -----------------------------------------------------------------------

_current: Writer | None = None
_current_lock = threading.Lock()
# How often this process is a child: getpid() at each write was a third of its time.
forks = 0


def current() -> Writer:
    """Return this process's writer."""
    global _current
    with _current_lock:
        if _current is None:
            _current = Writer()
        return _current


def close() -> None:
    """Write what waits, and stop this process's writer; the next run starts another."""
    global _current
    with _current_lock:
        closing, _current = _current, None
    if closing is not None:
        closing.release()
        closing.close()


def look(run: int) -> None:
    """Look soon whether a run of this process is to stop."""
    if _current is not None:
        _current.look(run)


def _on_sigterm(number: int, frame: object) -> None:
    """Write what waits, then end as without this handler."""
    # Another thread: this one may be in the middle of a write.
    releasing = threading.Thread(target=close, name="eric-sse-release", daemon=True)
    releasing.start()
    releasing.join(EXIT_FLUSH_S)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def handle_sigterm() -> None:
    """Write what waits at SIGTERM, if that ends the process at once, without atexit."""
    is_main = threading.current_thread() is threading.main_thread()
    if (
        is_main
        and conf.get("HANDLE_SIGNALS")
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        signal.signal(signal.SIGTERM, _on_sigterm)


def _flush_before_fork() -> None:
    # The parent may end at once, as a daemon's does.
    if _current is not None:
        _current.flush()


def _forget_after_fork() -> None:
    # The parent's thread is not in the child, and writes what waits.
    global _current, _current_lock, forks
    _current, _current_lock, forks = None, threading.Lock(), forks + 1


os.register_at_fork(before=_flush_before_fork, after_in_child=_forget_after_fork)
atexit.register(close)
