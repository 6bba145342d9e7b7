"""What a server holds over time, and whether that is flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

# What each figure may grow by from the second quarter of a run to its last: a factor, and an
# amount for what is small. The first quarter warms up: pools, caches, the allocator.
MAY_GROW: dict[str, tuple[float, float]] = {
    "memory_mb": (1.10, 2),
    "tasks": (1.05, 10),
    # Those that start when they are needed, and end: a trim's, and a project's own code's.
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
    """Return for each figure that is not flat what it was and what it became."""
    found = {}
    for name in names:
        early, late = quarters(samples, name)
        factor, amount = MAY_GROW[name]
        if late > early * factor + amount:
            found[name] = {"second_quarter": early, "last_quarter": late}
    return found
