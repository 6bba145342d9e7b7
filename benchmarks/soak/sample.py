"""One sample of a server under steady load, and how it is taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from benchmarks.client import Crowd
from benchmarks.stage import Stage
from benchmarks.tally import Wrong
from benchmarks.works.figures import percentiles


@dataclass(frozen=True)
class Sample:
    """What a server did in some seconds. Percentages are of a core."""

    at_s: float
    mib: float
    server_percent: float
    database_percent: float
    deliveries_per_s: float
    p50_ms: float
    p99_ms: float
    wrong: Wrong

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.at_s / 60:.1f} min: {self.mib:.1f} MiB, server {self.server_percent:.1f} %, "
            f"database {self.database_percent:.1f} %, {self.deliveries_per_s:,.0f} deliveries/s, "
            f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"
            + (f", {self.wrong}" if self.wrong else "")
        )


def samples(
    stage: Stage, streams: int, per_s: float, every_s: float, seconds: float
) -> Iterator[Sample]:
    """Publish at a pace to as many streams, and yield a sample every `every_s`, until the end."""
    began = time.monotonic()
    with stage.crowd(stage.prepare(streams), 1, timed=True) as crowd:
        while time.monotonic() - began < seconds:
            yield _sample(stage, crowd, per_s, every_s, began)


def _sample(stage: Stage, crowd: Crowd, per_s: float, every_s: float, began: float) -> Sample:
    count = max(1, round(per_s * every_s))
    crowd.expect(count)
    before, since = stage.cpu(), time.monotonic()
    published = stage.publish_meanwhile("each", 0, count, per_s)
    crowd.read_for(every_s)
    used, took_s = stage.cpu().since(before), time.monotonic() - since
    crowd.until(count, stage.scale.patience_s)
    published.result(stage.scale.patience_s)
    wrong, delays = crowd.wrong(), percentiles(sorted(crowd.delays_ns))
    return Sample(
        *(time.monotonic() - began, stage.server.resident_kib() / 1_024),
        *(used.server_s / took_s * 100, used.database_s / took_s * 100),
        (count * len(crowd.readers) - wrong.lost) / took_s,
        *(delays.get("p50 ms", 0.0), delays.get("p99 ms", 0.0)),
        wrong,
    )
