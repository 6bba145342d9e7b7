"""
Many messages that wait for one listener, which then connects.

It is the first client of its process: nothing of the subject has served a stream before.
"""

from __future__ import annotations

import time
from functools import partial

from benchmarks.stage import Stage
from benchmarks.subject import BARE, ERIC, EVENTSTREAM, JOINING, OURS
from benchmarks.work import Found, Measure, Target, Work
from benchmarks.works.figures import cpu_per


def run(stage: Stage, rests: bool) -> Found:
    count = stage.scale.waiting
    (path,) = stage.prepare(1)
    stage.publish("many", 0, count)
    if rests:
        time.sleep(stage.scale.rest_s)
    before, began = stage.cpu(), time.monotonic()
    with stage.crowd([path], count, warm=False) as crowd:
        ended = crowd.until(count, stage.scale.patience_s)
        used = stage.cpu().since(before)
        crowd.until_silent()
        figures = {"messages/s": count / (ended - began), **cpu_per("message", used, count)}
        return Found(figures, crowd.wrong())


CPU = (
    Measure("µs CPU per message", digits=1),
    Measure("µs CPU per message, PostgreSQL's", digits=1),
)
WORK = Work(
    "backlog",
    "Waiting messages to the first client of a process",
    (
        Measure("messages/s", Target(1), short="{waiting} waiting messages to one: messages/s"),
        *CPU,
    ),
    frozenset({BARE, JOINING, OURS, EVENTSTREAM, ERIC}),
    partial(run, rests=True),
)
AT_ONCE = Work(
    "backlog-at-once",
    "Waiting messages to the first client of a process, which connects as they are published",
    (Measure("messages/s", short="… at once after they are published"), *CPU),
    frozenset({BARE, JOINING, OURS, ERIC}),
    partial(run, rests=False),
)
