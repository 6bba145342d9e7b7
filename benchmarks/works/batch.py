"""broadcast_many() of 1,000 messages."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.subject import OURS
from benchmarks.work import Found, Measure, Target, Work

BATCH = 1_000


def run(stage: Stage) -> Found:
    count = stage.scale.batches * BATCH
    (path,) = stage.prepare(1)
    stage.publish("each", 0, 1)
    seconds = stage.publish("many", 1, count)
    with stage.crowd([path], count + 1, warm=False) as crowd:
        crowd.until(count + 1, stage.scale.patience_s)
        crowd.until_silent()
        return Found({"messages/s": count / seconds}, crowd.wrong())


WORK = Work(
    "batch",
    f"broadcast_many of {BATCH:,}",
    (
        Measure(
            *("messages/s", Target(30_000, times=False), None),
            short=f"`broadcast_many` of {BATCH:,}: messages/s",
        ),
    ),
    frozenset({OURS}),
    run,
)
