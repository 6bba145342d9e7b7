"""Many messages that wait for one listener, which then connects."""

from __future__ import annotations

import time

from benchmarks.stage import Stage
from benchmarks.subject import BARE, ERIC, EVENTSTREAM, OURS
from benchmarks.work import Found, Measure, Target, Work


def run(stage: Stage) -> Found:
    return _run(stage, first=False)


def run_first(stage: Stage) -> Found:
    return _run(stage, first=True)


def _run(stage: Stage, first: bool) -> Found:
    count = stage.scale.waiting
    path, other = stage.prepare(2)
    stage.publish("many", 0, count)
    if stage.subject.name == OURS and not first:
        # A stream that is already open, because the first stream waits until the hub has started.
        with stage.crowd([other], count, warm=False) as crowd:
            crowd.until(count, stage.scale.patience_s)
    began = time.monotonic()
    with stage.crowd([path], count, warm=False) as crowd:
        ended = crowd.until(count, stage.scale.patience_s)
        crowd.until_silent()
        return Found({"messages/s": count / (ended - began)}, crowd.wrong())


WORK = Work(
    "backlog",
    "Waiting messages to one listener",
    (Measure("messages/s", Target(1)),),
    frozenset({BARE, OURS, EVENTSTREAM, ERIC}),
    run,
)
FIRST = Work(
    "backlog-first",
    "Waiting messages to the first listener of a process",
    (Measure("messages/s", Target(0.8), target_for="PostgreSQL"),),
    frozenset({BARE, OURS}),
    run_first,
)
