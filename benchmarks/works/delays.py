"""Broadcasts at a pace: the time from the call that publishes each to its receipt."""

from __future__ import annotations

from benchmarks.stage import Stage
from benchmarks.work import Found
from benchmarks.works.figures import cpu_per, percentiles


def run(stage: Stage, listeners: int, count: int, per_s: float) -> Found:
    """Publish `count` messages, `per_s` a second; return p50, p99 and the CPU time."""
    paths = stage.prepare(listeners)
    with stage.crowd(paths, count + 1, timed=True) as crowd:
        before = stage.cpu()
        published = stage.publish_meanwhile("each", 1, count, per_s)
        crowd.until(count + 1, stage.scale.patience_s + count / per_s)
        used = stage.cpu().since(before)
        crowd.until_silent()
        published.result(stage.scale.patience_s)
        wrong, delays = crowd.wrong(), sorted(crowd.delays_ns)
    if not delays:
        return Found({}, wrong)
    return Found({**percentiles(delays), **cpu_per("delivery", used, len(delays))}, wrong)
