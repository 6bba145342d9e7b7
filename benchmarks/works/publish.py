"""Durable publishing, one call one commit, and bare INSERTs on the same connection."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.stage import Apart, Stage
from benchmarks.subject import EVENTSTREAM, OURS
from benchmarks.work import Found, Measure, Target, Work

# The two take turns, because the speed of a shared disk changes from second to second.
TURNS = 5


def run(stage: Stage) -> Found:
    size, some = stage.scale.payload_bytes, stage.scale.publishes // TURNS
    count, inserts_s, publishes_s = some * TURNS, 0.0, 0.0
    (path,) = stage.prepare(1)
    stage.publish("each", 0, 1)
    for first in range(1, count + 1, some):
        inserts_s += float(stage.publisher.ask(f"/insert/{some}/{size}"))
        publishes_s += stage.publish("each", first, some)
    # All published messages are stored: a listener gets them.
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
APART = Work(
    "publish-apart",
    "Durable publishing by another process (wakes through Redis)",
    WORK.measures,
    frozenset({OURS}),
    run,
    databases=frozenset({"PostgreSQL"}),
    apart=Apart(has_core=True),
)
BESIDE = replace(
    APART,
    name="publish-beside",
    title=f"{APART.title}, on the core of PostgreSQL and Redis",
    apart=Apart(),
)
