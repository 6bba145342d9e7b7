"""Five broadcasts a second to many listeners."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.subject import BARE, ERIC, EVENTSTREAM, OURS, STARLETTE
from benchmarks.work import Found, Measure, Target, Work
from benchmarks.works import delays

PER_S = 5


def run(stage: Stage) -> Found:
    return delays.run(stage, stage.scale.listeners, stage.scale.paced_messages, PER_S)


_AT_MOST = Target(1.3, at_least=False)
WORK = Work(
    "paced",
    f"{PER_S} broadcasts a second",
    (
        Measure(
            *("p50 ms", _AT_MOST),
            digits=1,
            short=f"{{listeners}} listeners, {PER_S} broadcasts a second: p50, ms",
        ),
        Measure("p99 ms", _AT_MOST, digits=1, short="… p99, ms"),
        Measure("µs CPU per delivery", _AT_MOST, digits=1, short="… µs of CPU a delivery"),
        Measure("µs CPU per delivery, PostgreSQL's", digits=1),
    ),
    frozenset({BARE, OURS, EVENTSTREAM, ERIC, STARLETTE}),
    run,
)
