"""Figures that several works have: percentiles of delays, and CPU time for each of something."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cpu import Cpu


def percentiles(ordered_ns: Sequence[int]) -> dict[str, float]:
    """Return p50 and p99 of delays, in milliseconds; nothing without delays."""
    if not ordered_ns:
        return {}
    return {
        "p50 ms": percentile(ordered_ns, 0.5) / 1e6,
        "p99 ms": percentile(ordered_ns, 0.99) / 1e6,
    }


def percentile(ordered: Sequence[int], fraction: float) -> int:
    """Return the value below which that fraction of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def cpu_per(what: str, used: Cpu, count: int) -> dict[str, float]:
    """Return the CPU time for each of `count`, of all processes, and what of it PostgreSQL has."""
    found = {f"µs CPU per {what}": used.total_s / count * 1e6}
    if used.database_s:
        found[f"µs CPU per {what}, PostgreSQL's"] = used.database_s / count * 1e6
    return found
