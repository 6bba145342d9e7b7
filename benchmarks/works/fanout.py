"""Broadcasts at full speed to many listeners."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from benchmarks.stage import Stage
from benchmarks.subject import BARE, ERIC, EVENTSTREAM, JOINING, OURS, STARLETTE
from benchmarks.work import Found, Measure, Target, Work
from benchmarks.works.figures import cpu_per, percentiles


def run(stage: Stage, how: str) -> Found:
    count = stage.scale.messages
    paths = stage.prepare(stage.scale.listeners)
    with stage.crowd(paths, count + 1, timed=True) as crowd:
        before, began = stage.cpu(), time.monotonic()
        published = stage.publish_meanwhile(how, 1, count)
        ended = crowd.until(count + 1, stage.scale.patience_s)
        used = stage.cpu().since(before)
        crowd.until_silent()
        published.result(stage.scale.patience_s)
        wrong, delays = crowd.wrong(), sorted(crowd.delays_ns)
    deliveries = count * len(paths) - wrong.lost
    if not deliveries:
        return Found({}, wrong)
    figures = {
        "deliveries/s": deliveries / (ended - began),
        **percentiles(delays),
        **cpu_per("delivery", used, deliveries),
    }
    return Found(figures, wrong)


MEASURES = (
    Measure("deliveries/s", Target(3), short="{listeners} listeners, at full speed: deliveries/s"),
    Measure("p50 ms", digits=1, short="… p50, ms"),
    Measure("p99 ms", digits=1, short="… p99, ms"),
    Measure(
        "µs CPU per delivery",
        Target(0.3, at_least=False),
        digits=2,
        short="… µs of CPU a delivery",
    ),
    Measure("µs CPU per delivery, PostgreSQL's", digits=2),
)
WORK = Work(
    "fanout",
    "Broadcasts at full speed, one call each",
    MEASURES,
    frozenset({BARE, JOINING, OURS, EVENTSTREAM, ERIC, STARLETTE}),
    partial(run, how="each"),
)
IN_BATCHES = Work(
    "fanout-batch",
    "Broadcasts at full speed, broadcast_many",
    tuple(replace(measure, short=None) for measure in MEASURES),
    frozenset({BARE, JOINING, OURS}),
    partial(run, how="many"),
)
