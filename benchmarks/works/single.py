"""One listener, 50 messages a second."""

from __future__ import annotations

from benchmarks.stage import Apart, Stage
from benchmarks.subject import BARE, ERIC, EVENTSTREAM, OURS, STARLETTE
from benchmarks.work import Found, Measure, Target, Work
from benchmarks.works import delays

PER_S = 50


def run(stage: Stage) -> Found:
    return delays.run(stage, 1, stage.scale.single_messages, PER_S)


WORK = Work(
    "single",
    f"1 listener, {PER_S} messages a second",
    (
        Measure(
            *("p50 ms", Target(2, times=False, at_least=False)),
            digits=2,
            target_for="SQLite",
            short=f"1 listener, {PER_S} messages a second: p50, ms",
        ),
        Measure("p99 ms", digits=2),
    ),
    frozenset({BARE, OURS, EVENTSTREAM, ERIC, STARLETTE}),
    run,
)


def _apart(name: str, fabric: str, carried: str) -> Work:
    is_short = carried == "channels"  # the default
    how = f"another process publishes ({carried} in wakes through {fabric})"
    return Work(
        name,
        f"1 listener, {PER_S} messages a second, {how}",
        (
            Measure(
                *("p50 ms", Target(4, times=False, at_least=False)),
                digits=2,
                short=f"… published by another process, {fabric}: p50, ms" if is_short else None,
            ),
            Measure("p99 ms", digits=2),
        ),
        frozenset({OURS}),
        run,
        databases=frozenset({"PostgreSQL"}),
        apart=Apart(fabric),
        settings={"WAKES_CARRY": carried},
    )


APART = tuple(
    _apart(f"single-apart{suffix}{end}", fabric, carried)
    for fabric, suffix in (("Redis", ""), ("NATS", "-nats"))
    for carried, end in (("channels", ""), ("messages", "-messages"))
)
