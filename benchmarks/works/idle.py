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
    paths = stage.prepare_elsewhere(FIRST + count)
    stage.publish_elsewhere()
    with stage.crowd(paths[:FIRST], 1, warm=False) as crowd:
        crowd.read_for(SETTLE_S)
        before = stage.server.resident_kib()
        crowd.open(paths[FIRST:], stage.subject.greets)
        crowd.read_for(SETTLE_S)
        kib = (stage.server.resident_kib() - before) / count
        cpu, began = stage.cpu(), time.monotonic()
        crowd.read_for(stage.scale.idle_s)
        used, seconds = stage.cpu().since(cpu), time.monotonic() - began
        # Each is still open: it gets a message.
        stage.publish("each", 0, 1)
        crowd.until(1, stage.scale.patience_s)
        figures = {"KiB per stream": kib, "% of a core": used.server_s / seconds * 100}
        if used.database_s:
            figures["% of a core, PostgreSQL's"] = used.database_s / seconds * 100
        return Found(figures, crowd.wrong())


WORK = Work(
    "idle",
    "Idle streams",
    (
        Measure(
            "KiB per stream",
            Target(1.2, at_least=False),
            digits=1,
            short="{listeners} silent streams: KiB each",
        ),
        Measure(
            "% of a core",
            Target(0.5, times=False, at_least=False),
            digits=2,
            short="… % of a core, the server's",
        ),
        Measure("% of a core, PostgreSQL's", digits=2, short="… % of a core, PostgreSQL's"),
    ),
    frozenset({BARE, OURS, EVENTSTREAM, ERIC, STARLETTE}),
    run,
    rounds=1,
)
