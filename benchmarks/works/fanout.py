"""Broadcasts at full speed to many listeners."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.stage import Stage
from benchmarks.subject import BARE, ERIC, EVENTSTREAM, OURS, STARLETTE
from benchmarks.work import Found, Measure, Target, Work


def run(stage: Stage, how: str) -> Found:
    count = stage.scale.flat_out(stage.subject)
    paths = stage.prepare(stage.scale.listeners)
    with stage.crowd(paths, count + 1) as crowd:
        cpu_s, began = stage.server.cpu_s(), time.monotonic()
        published = stage.publish_meanwhile(how, 1, count)
        ended = crowd.until(count + 1, stage.scale.patience_s)
        cpu_s = stage.server.cpu_s() - cpu_s
        crowd.until_silent()
        published.result(stage.scale.patience_s)
        wrong = crowd.wrong()
    deliveries = count * len(paths) - wrong.lost
    if not deliveries:
        return Found({}, wrong)
    figures = {
        "deliveries/s": deliveries / (ended - began),
        "µs CPU per delivery": cpu_s / deliveries * 1e6,
    }
    return Found(figures, wrong)


MEASURES = (
    Measure("deliveries/s", Target(3)),
    Measure("µs CPU per delivery", Target(0.3, at_least=False), digits=2),
)
WORK = Work(
    "fanout",
    "Broadcasts at full speed, one call each",
    MEASURES,
    frozenset({BARE, OURS, EVENTSTREAM, ERIC, STARLETTE}),
    partial(run, how="each"),
)
IN_BATCHES = Work(
    "fanout-batch",
    "Broadcasts at full speed, broadcast_many",
    MEASURES,
    frozenset({BARE, OURS}),
    partial(run, how="many"),
)
