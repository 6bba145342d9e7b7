"""Broadcasts at a pace: the time from the call that publishes each to its receipt."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.work import Found


def run(stage: Stage, listeners: int, count: int, per_s: float) -> Found:
    """Publish `count` messages, `per_s` a second; return p50, p99 and the CPU time."""
    paths = stage.prepare(listeners)
    with stage.crowd(paths, count + 1, timed=True) as crowd:
        cpu_s = stage.server.cpu_s()
        published = stage.publish_meanwhile("each", 1, count, per_s)
        crowd.until(count + 1, stage.scale.patience_s + count / per_s)
        cpu_s = stage.server.cpu_s() - cpu_s
        crowd.until_silent()
        published.result(stage.scale.patience_s)
        wrong, delays = crowd.wrong(), sorted(crowd.delays_ns)
    if not delays:
        return Found({}, wrong)
    figures = {
        "p50 ms": percentile(delays, 0.5) / 1e6,
        "p99 ms": percentile(delays, 0.99) / 1e6,
        "µs CPU per delivery": cpu_s / len(delays) * 1e6,
    }
    return Found(figures, wrong)


def percentile(ordered: list[int], fraction: float) -> int:
    """Return the value below which that fraction of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]
