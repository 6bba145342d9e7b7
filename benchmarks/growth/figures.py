"""What the measured seconds say: medians, ratios, percentiles, tables. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.growth.sizes import Size

# What a full log may cost at most, as a multiple of an empty one.
FLAT = 1.2


@dataclass
class Cost:
    """What one thing costs at one size, beside the empty database: rounds of seconds."""

    empty: list[list[float]] = field(default_factory=list)
    full: list[list[float]] = field(default_factory=list)

    def ms(self) -> float:
        """Return the median of the full database, in milliseconds."""
        return _ms(self.full)

    def ms_empty(self) -> float:
        """Return the median of the empty one."""
        return _ms(self.empty)

    def ratio(self) -> float:
        """
        Return full to empty: the median of the rounds' ratios.

        The two of a round were measured one after the other, so what else the machine did in
        other rounds does not count.
        """
        pairs = zip(self.full, self.empty, strict=True)
        ratios = [statistics.median(full) / statistics.median(empty) for full, empty in pairs]
        return statistics.median(ratios)


def _ms(rounds: Iterable[Sequence[float]]) -> float:
    return statistics.median(statistics.median(times) for times in rounds) * 1_000


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that a `share` (0.99) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def steps(rows: int, listeners: int) -> list[Size]:
    """Return the sizes to measure: from 10,000 rows by factors of ten, both at once."""
    sizes: list[Size] = []
    size = rows
    while size >= 10_000 or not sizes:
        sizes.append(Size(size, max(1, listeners * size // rows) if rows else 0))
        size //= 10
    return [Size(0, 0), *reversed(sizes)]


def table(costs: Mapping[str, Mapping[Size, Cost]]) -> str:
    """Return the costs as a Markdown table: milliseconds at each size, and the last ratio."""
    sizes = list(next(iter(costs.values())))
    heads = [f"{size.rows:,} rows, {size.listeners:,} away" for size in sizes]
    lines = [
        f"| ms, median | {' | '.join(heads)} | ratio |",
        "|---|" + "---:|" * (len(sizes) + 1),
    ]
    for what, by_size in costs.items():
        cells = [f"{by_size[size].ms():.2f}" for size in sizes]
        lines.append(f"| {what} | {' | '.join(cells)} | {by_size[sizes[-1]].ratio():.2f} |")
    return "\n".join(lines)


def not_flat(costs: Mapping[str, Mapping[Size, Cost]]) -> list[str]:
    """Return what costs more than FLAT times the empty database at the largest size."""
    return [what for what, sizes in costs.items() if list(sizes.values())[-1].ratio() > FLAT]


def trimmed(alone: Sequence[float], beside: Sequence[float]) -> str:
    """Return a line on what publishing took alone, and beside a trim."""
    before, during = percentile(alone, 0.99) * 1_000, percentile(beside, 0.99) * 1_000
    worst = max(beside) * 1_000
    return (
        f"publish p50 {percentile(beside, 0.5) * 1_000:.1f} ms, p99 {during:.1f} ms (alone "
        f"{percentile(alone, 0.5) * 1_000:.1f} and {before:.1f}), longest {worst:.0f} ms: "
        f"{during - before:+.1f} ms at p99"
    )
