"""The memory, files and rows of a server over time, and whether they are flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

# How much each figure may grow from the second quarter of a run to its last: a factor, and an
# amount for small figures. Pools, caches and the allocator warm up in the first quarter.
MAY_GROW: dict[str, tuple[float, float]] = {
    "memory_mb": (1.10, 2),
    "tasks": (1.05, 10),
    # For the threads that start on demand and end: those of a trim, and of a project's code.
    "threads": (1.0, 2),
    "files": (1.05, 10),
    "connections": (1.0, 2),  # as threads
    "rows": (1.25, 50),
    "stream_rows": (1.05, 10),
}


def quarters(samples: Sequence[Mapping[str, float]], name: str) -> tuple[float, float]:
    """Return the median of a figure in the second quarter of a run, and in the last."""
    values = [sample[name] for sample in samples]
    quarter = max(1, len(values) // 4)
    return median(values[quarter : 2 * quarter]), median(values[-quarter:])


def grown(samples: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, Any]:
    """Return the medians of each figure that is not flat, in the second and last quarter."""
    found = {}
    for name in names:
        early, late = quarters(samples, name)
        factor, amount = MAY_GROW[name]
        if late > early * factor + amount:
            found[name] = {"second_quarter": early, "last_quarter": late}
    return found
