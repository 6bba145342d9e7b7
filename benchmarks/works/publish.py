"""Durable publishing, one call one commit, beside a bare INSERT on the same connection."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.subject import EVENTSTREAM, OURS
from benchmarks.work import Found, Measure, Target, Work


def run(stage: Stage) -> Found:
    count, size = stage.scale.publishes, stage.scale.payload_bytes
    (path,) = stage.prepare(1)
    stage.publish("each", 0, 1)
    inserts_s = float(stage.publisher.ask(f"/insert/{count}/{size}"))
    publishes_s = stage.publish("each", 1, count)
    # What was published so is kept: a listener gets it all.
    with stage.crowd([path], count + 1, warm=False) as crowd:
        crowd.until(count + 1, stage.scale.patience_s)
        crowd.until_silent()
        wrong = crowd.wrong()
    figures = {"publishes/s": count / publishes_s, "bare INSERTs/s": count / inserts_s}
    return Found(figures, wrong)


WORK = Work(
    "publish",
    "Durable publishing, one call one commit",
    (
        Measure("publishes/s", Target(0.6), ceiling="bare INSERTs/s", target_for="PostgreSQL"),
        Measure("bare INSERTs/s", ceiling=None),
    ),
    frozenset({OURS, EVENTSTREAM}),
    run,
)
