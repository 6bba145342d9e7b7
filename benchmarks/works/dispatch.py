"""Messages to one listener, as the only one online and as one of many."""

from __future__ import annotations

from benchmarks.client import Crowd
from benchmarks.stage import Stage
from benchmarks.subject import OURS
from benchmarks.work import Found, Measure, Target, Work


def run(stage: Stage) -> Found:
    paths, count = stage.prepare(stage.scale.listeners), stage.scale.dispatches
    with (
        stage.crowd(paths[:1], 2 * count + 1) as one,
        Crowd(stage.server.port, 0) as others,
    ):
        alone = _cpu_us(stage, one, 1, count)
        others.open(paths[1:], stage.subject.greets)
        others.until_silent()
        before = others.received()
        among_many = _cpu_us(stage, one, 1 + count, count)
        others.read_for(0.1)
        figures = {
            "µs CPU each among many": among_many,
            "µs CPU each alone": alone,
            "bytes to the others": others.received() - before,
        }
        return Found(figures, one.wrong())


def _cpu_us(stage: Stage, one: Crowd, first: int, count: int) -> float:
    before = stage.cpu()
    published = stage.publish_meanwhile("dispatch", first, count)
    one.until(first + count, stage.scale.patience_s)
    published.result(stage.scale.patience_s)
    return stage.cpu().since(before).total_s / count * 1e6


WORK = Work(
    "dispatch",
    "Dispatches to one of the listeners online",
    (
        Measure(
            *("µs CPU each among many", Target(1.2, at_least=False), "µs CPU each alone"),
            short="dispatch to one of {listeners} online: µs of CPU",
        ),
        Measure("µs CPU each alone", ceiling=None),
        Measure("bytes to the others", Target(0, times=False, at_least=False), ceiling=None),
    ),
    frozenset({OURS}),
    run,
    settings={"HEARTBEAT_S": 300},  # else their bytes are counted, if publishing takes long
)
