"""The parts of this process that delivery needs, and whether each works."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import connections

from eric_sse_django import log, notifier, wakes
from eric_sse_django.hub import running_hubs

logger = logging.getLogger(__name__)

# Seconds that the database and the layer have to answer, together: less than the timeout
# of the callers (5 s for django-health-check, and often for a load balancer).
TIMEOUT_S = 3.0
# Seconds for which a result is used again: the URLs are public, and may be called often.
FRESH_S = 1.0

PARTS = ("hub", "notifier", "database", "layer")


@dataclass(frozen=True)
class Part:
    """One part: whether it works, and in a few words its state or what is wrong."""

    name: str
    works: bool
    says: str


@dataclass(frozen=True)
class Result:
    """The result of one check: a text, whether the check failed, and the exception if any."""

    text: str
    failed: bool = False
    cause: BaseException | None = None


class Probe:
    """
    Runs a check that may hang, on its own thread, one at a time; callers share the result.

    A check that hangs keeps that one thread: until it returns, callers get no other result.
    """

    def __init__(self, check: Callable[[], str]) -> None:
        self._check = check
        self.reset()

    def reset(self) -> None:
        """Forget everything: a child process does not have the thread that runs the check."""
        self._changed = threading.Condition()
        self._started_at: float | None = None  # of the check that is running
        self._finished_at = float("-inf")
        self._result = Result("")

    def start(self) -> None:
        """Start the check, unless it is running or the last result is fresh. Never waits."""
        with self._changed:
            now = time.monotonic()
            if self._started_at is not None or now - self._finished_at < FRESH_S:
                return
            threading.Thread(target=self._run, name="eric-sse-health", daemon=True).start()
            self._started_at = now

    def result(self, timeout_s: float) -> Result:
        """Return the result of the check that start() began, or a failure after `timeout_s`."""
        with self._changed:
            if self._started_at is not None:
                left_s = self._started_at + timeout_s - time.monotonic()
                self._changed.wait_for(lambda: self._started_at is None, max(0.0, left_s))
            if self._started_at is not None:
                waited_s = time.monotonic() - self._started_at
                return Result(f"no answer for {waited_s:.0f} s", failed=True)
            return self._result

    def _run(self) -> None:
        try:
            try:
                result = Result(self._check())
            finally:
                connections.close_all()
        except Exception as error:  # noqa: BLE001 - any exception is the result
            result = Result(type(error).__name__, failed=True, cause=error)
        with self._changed:
            self._result, self._finished_at, self._started_at = result, time.monotonic(), None
            self._changed.notify_all()


def examine(names: Iterable[str] = PARTS, timeout_s: float = TIMEOUT_S) -> list[Part]:
    """
    Return the parts with these names, in that order, as they are in this process.

    Queries the database and the layer, and waits `timeout_s` for both at most; starts nothing
    else. A part that fails, or works again, is logged when that is first found.
    """
    names = tuple(names)
    until = time.monotonic() + timeout_s
    for name in names:
        if name in _probes:
            _probes[name].start()
    return [_part(name, _result(name, until)) for name in names]


def _result(name: str, until: float) -> Result:
    if name == "hub":
        return _hub()
    if name == "notifier":
        return _notifier()
    result = _probes[name].result(until - time.monotonic())
    if name == "layer" and not result.failed:
        return _first_trouble([outage.trouble for outage in wakes.outages()], result.text)
    return result


def _hub() -> Result:
    hubs = running_hubs()
    if any(hub.draining for hub in hubs):
        return Result("the server is stopping", failed=True)
    troubles = [hub.trouble() for hub in hubs]
    return _first_trouble(troubles, "follows the log" if hubs else "no streams here")


def _notifier() -> Result:
    started = notifier.started()
    if started is None:
        return Result("nothing to do yet")
    return _first_trouble([started.trouble()], "sequences")


def _first_trouble(troubles: Iterable[str | None], text: str) -> Result:
    """Return the first trouble as a failure, else a result with the text."""
    found = next(filter(None, troubles), None)
    return Result(text) if found is None else Result(found, failed=True)


def _check_database() -> str:
    log.head()
    return "answers"


def _check_layer() -> str:
    fabric = wakes.configured()
    if fabric is None or not fabric.probe():
        return "none between processes: polling"
    return f"{fabric.name} answers"


_probes = {"database": Probe(_check_database), "layer": Probe(_check_layer)}

_failing: set[str] = set()
_failing_lock = threading.Lock()


def _part(name: str, result: Result) -> Part:
    """Return the part; log it if its state has changed."""
    with _failing_lock:
        changed = (name in _failing) != result.failed
        (_failing.add if result.failed else _failing.discard)(name)
    if changed and result.failed:
        logger.error("health: %s does not work: %s", name, result.text, exc_info=result.cause)
    elif changed:
        logger.warning("health: %s works again", name)
    return Part(name, not result.failed, result.text)


def _forget_after_fork() -> None:
    global _failing_lock
    _failing_lock = threading.Lock()
    _failing.clear()
    for probe in _probes.values():
        probe.reset()


os.register_at_fork(after_in_child=_forget_after_fork)
