"""The parts of this process that delivery needs, and whether each works."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from eric_sse_django import layer, log, notifier, wakes
from eric_sse_django.health.probe import Answer, Probe
from eric_sse_django.hub import running_hubs

logger = logging.getLogger(__name__)

# Seconds that the database and the layer have to answer, together: shorter than the
# patience of those who ask (5 s for django-health-check, and often for a load balancer).
TIMEOUT_S = 3.0

PARTS = ("hub", "notifier", "database", "layer")


@dataclass(frozen=True)
class Part:
    """One part: whether it works, and in a few words what it does or what is wrong."""

    name: str
    works: bool
    says: str


def examine(names: Iterable[str] = PARTS, timeout_s: float = TIMEOUT_S) -> list[Part]:
    """
    Return the parts with these names, in that order, as they are in this process.

    Starts nothing but a question to the database and to the layer, and waits `timeout_s`
    for both at most. A part that fails, or works again, is logged when that is first seen.
    """
    names = tuple(names)
    until = time.monotonic() + timeout_s
    for name in names:
        if name in _probes:
            _probes[name].begin()
    return [_seen(name, _answer(name, until)) for name in names]


def _answer(name: str, until: float) -> Answer:
    if name == "hub":
        return _hub()
    if name == "notifier":
        return _notifier()
    answer = _probes[name].answer(until - time.monotonic())
    if name == "layer" and not answer.is_trouble:
        return _first_trouble([outage.trouble for outage in wakes.outages()], answer.says)
    return answer


def _hub() -> Answer:
    hubs = running_hubs()
    if any(hub.draining for hub in hubs):
        return Answer("the server stops", is_trouble=True)
    troubles = [hub.trouble() for hub in hubs]
    return _first_trouble(troubles, "follows the log" if hubs else "no streams here")


def _notifier() -> Answer:
    started = notifier.started()
    if started is None:
        return Answer("nothing to do yet")
    return _first_trouble([started.trouble()], "sequences")


def _first_trouble(troubles: Iterable[str | None], says: str) -> Answer:
    found = next(filter(None, troubles), None)
    return Answer(says) if found is None else Answer(found, is_trouble=True)


def _ask_database() -> str:
    log.head()
    return "answers"


def _ask_layer() -> str:
    return "answers" if layer.probe() else "none between processes: polling"


_probes = {"database": Probe(_ask_database), "layer": Probe(_ask_layer)}

_failing: set[str] = set()
_failing_lock = threading.Lock()


def _seen(name: str, answer: Answer) -> Part:
    """Return the part, and log where it is not as it was."""
    with _failing_lock:
        changed = (name in _failing) != answer.is_trouble
        (_failing.add if answer.is_trouble else _failing.discard)(name)
    if changed and answer.is_trouble:
        logger.error("health: %s does not work: %s", name, answer.says, exc_info=answer.cause)
    elif changed:
        logger.warning("health: %s works again", name)
    return Part(name, not answer.is_trouble, answer.says)


def _forget_after_fork() -> None:
    global _failing_lock
    _failing_lock = threading.Lock()
    _failing.clear()
    for probe in _probes.values():
        probe.reset()


os.register_at_fork(after_in_child=_forget_after_fork)
