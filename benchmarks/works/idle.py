"""Open streams without messages."""

from __future__ import annotations

import time

from benchmarks.stage import Stage
from benchmarks.subject import BARE, ERIC, EVENTSTREAM, OURS, STARLETTE
from benchmarks.work import Found, Measure, Target, Work

# Streams opened before the measured ones, so that one-time costs are not counted.
FIRST = 20
# Seconds in which the delayed work of opening is done.
SETTLE_S = 2.0


def run(stage: Stage) -> Found:
    count = stage.scale.listeners
    paths = stage.prepare(FIRST + count)
    with stage.crowd(paths[:FIRST], 1, warm=False) as crowd:
        crowd.read_for(SETTLE_S)
        before = stage.server.resident_kib()
        crowd.open(paths[FIRST:], stage.subject.greets)
        crowd.read_for(SETTLE_S)
        kib = (stage.server.resident_kib() - before) / count
        cpu_s, began = stage.server.cpu_s(), time.monotonic()
        crowd.read_for(stage.scale.idle_s)
        cpu_s, seconds = stage.server.cpu_s() - cpu_s, time.monotonic() - began
        # Each is still open: it gets a message.
        stage.publish("each", 0, 1)
        crowd.until(1, stage.scale.patience_s)
        return Found({"KiB per stream": kib, "% of a core": cpu_s / seconds * 100}, crowd.wrong())


WORK = Work(
    "idle",
    "Idle streams",
    (
        Measure("KiB per stream", Target(1.2, at_least=False), digits=1),
        Measure("% of a core", Target(0.5, times=False, at_least=False), digits=2),
    ),
    frozenset({BARE, OURS, EVENTSTREAM, ERIC, STARLETTE}),
    run,
)
