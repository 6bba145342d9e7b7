"""The figures of one process with a number of open streams, and how they are measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from benchmarks.client import Crowd
from benchmarks.cpu import Cpu
from benchmarks.stage import Stage
from benchmarks.tally import Wrong
from benchmarks.works.figures import percentiles

# Streams opened before all others, so that one-time costs are not counted.
FIRST = 20
# Seconds in which the delayed work of opening is done.
SETTLE_S = 2.0


@dataclass(frozen=True)
class Point:
    """What one process used with `streams` open streams, and how long their messages took."""

    subject: str
    streams: int
    opened_per_s: float
    kib: float  # of the server, for each stream
    idle_percent: float  # of a core
    idle_database_percent: float
    paced_percent: float
    paced_database_percent: float
    p50_ms: float
    p99_ms: float
    wrong: Wrong

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.subject}, {self.streams:,} streams: {self.kib:.1f} KiB each, "
            f"idle {self.idle_percent:.2f} %, paced {self.paced_percent:.2f} %, "
            f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"
            + (f", {self.wrong}" if self.wrong else "")
        )


def points(
    stage: Stage, sizes: Sequence[int], idle_s: float, messages: int, per_s: float
) -> Iterator[Point]:
    """Open more and more streams of one server, and measure it with each of these numbers."""
    paths = stage.prepare_elsewhere(FIRST + max(sizes))
    with stage.crowd(paths[:FIRST], 1, timed=True) as crowd:
        crowd.read_for(SETTLE_S)
        before_kib, opened = stage.server.resident_kib(), 0
        for streams in sizes:
            began = time.monotonic()
            crowd.open(paths[FIRST + opened : FIRST + streams], stage.subject.greets)
            per_second = (streams - opened) / (time.monotonic() - began)
            opened = streams
            crowd.read_for(SETTLE_S)
            kib = (stage.server.resident_kib() - before_kib) / streams
            idle = _used(stage, crowd, idle_s)
            crowd.expect(messages)
            paced, wrong, delays = _paced(stage, crowd, messages, per_s)
            yield Point(
                *(str(stage.subject), streams, per_second, kib, *idle, *paced),
                *(delays.get("p50 ms", 0.0), delays.get("p99 ms", 0.0), wrong),
            )


def _used(stage: Stage, crowd: Crowd, seconds: float) -> tuple[float, float]:
    before = stage.cpu()
    crowd.read_for(seconds)
    return _percent(stage.cpu().since(before), seconds)


def _paced(
    stage: Stage, crowd: Crowd, messages: int, per_s: float
) -> tuple[tuple[float, float], Wrong, dict[str, float]]:
    """Publish to all streams; return the CPU used, what was wrong, and the delays."""
    before, began = stage.cpu(), time.monotonic()
    published = stage.publish_meanwhile("each", 0, messages, per_s)
    crowd.read_for(messages / per_s)
    percent = _percent(stage.cpu().since(before), time.monotonic() - began)
    crowd.until(messages, stage.scale.patience_s)
    published.result(stage.scale.patience_s)
    crowd.until_silent()
    wrong, delays = crowd.wrong(), sorted(crowd.delays_ns)
    return percent, wrong, percentiles(delays)


def _percent(used: Cpu, seconds: float) -> tuple[float, float]:
    return used.server_s / seconds * 100, used.database_s / seconds * 100
