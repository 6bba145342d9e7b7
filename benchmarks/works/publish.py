"""Durable publishing, one call one commit, and bare INSERTs on the same connection."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.cpu import Cpu
from benchmarks.stage import Apart, Stage
from benchmarks.subject import EVENTSTREAM, FULL, OURS
from benchmarks.work import Found, Measure, Rival, Target, Work
from benchmarks.works.figures import cpu_per

# The two take turns, because the speed of a shared disk changes from second to second.
TURNS = 5


def run(stage: Stage) -> Found:
    size, some = stage.scale.payload_bytes, stage.scale.publishes // TURNS
    count, inserts_s, publishes_s = some * TURNS, 0.0, 0.0
    used = Cpu(0.0, 0.0)
    (path,) = stage.prepare(1)
    stage.publish("each", 0, 1)
    for first in range(1, count + 1, some):
        inserts_s += float(stage.publisher.ask(f"/insert/{some}/{size}"))
        before = stage.cpu()
        publishes_s += stage.publish("each", first, some)
        used = used.plus(stage.cpu().since(before))
    # All published messages are stored: a listener gets them.
    with stage.crowd([path], count + 1, warm=False) as crowd:
        crowd.until(count + 1, stage.scale.patience_s)
        crowd.until_silent()
        wrong = crowd.wrong()
    figures = {"publishes/s": count / publishes_s, "bare INSERTs/s": count / inserts_s}
    return Found({**figures, **cpu_per("publish", used, count)}, wrong)


WORK = Work(
    "publish",
    "Durable publishing, one call one commit",
    (
        Measure(
            *("publishes/s", Target(0.6), "bare INSERTs/s"),
            target_for="PostgreSQL",
            short="`publish()`: calls/s, one commit each",
            rival=Rival(EVENTSTREAM, 5, "SQLite"),
        ),
        Measure("bare INSERTs/s", ceiling=None, short="… bare `INSERT; COMMIT`, a second"),
        Measure("µs CPU per publish", ceiling=None, short="… µs of CPU a call"),
        Measure("µs CPU per publish, PostgreSQL's", ceiling=None),
    ),
    frozenset({OURS, EVENTSTREAM}),
    run,
    databases=frozenset({"SQLite", FULL, "PostgreSQL"}),
)
APART = Work(
    "publish-apart",
    "Durable publishing by another process (wakes through Redis)",
    tuple(replace(measure, short=None) for measure in WORK.measures),
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
