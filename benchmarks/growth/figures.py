"""Medians, ratios, percentiles and tables of the measured seconds. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.growth.sizes import Size

# The highest cost of a full log that counts as flat, as a multiple of an empty one.
FLAT = 1.2


@dataclass
class Cost:
    """The seconds of one operation at one size and in the empty database, by rounds."""

    empty: list[list[float]] = field(default_factory=list)
    full: list[list[float]] = field(default_factory=list)

    def ms(self) -> float:
        """Return the median of the full database, in milliseconds."""
        return _ms(self.full)

    def ms_empty(self) -> float:
        """Return the median of the empty database, in milliseconds."""
        return _ms(self.empty)

    def ratio(self) -> float:
        """
        Return the ratio of full to empty: the median of the rounds' ratios.

        The two of a round were measured one after the other, so a disturbance in another round
        does not affect its ratio.
        """
        pairs = zip(self.full, self.empty, strict=True)
        ratios = [statistics.median(full) / statistics.median(empty) for full, empty in pairs]
        return statistics.median(ratios)


def _ms(rounds: Iterable[Sequence[float]]) -> float:
    return statistics.median(statistics.median(times) for times in rounds) * 1_000


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that a `share` (0.99) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def steps(rows: int, listeners: int) -> list[Size]:
    """Return the sizes to measure: from 10,000 rows by factors of ten, rows and listeners."""
    sizes: list[Size] = []
    size = rows
    while size >= 10_000 or not sizes:
        sizes.append(Size(size, max(1, listeners * size // rows) if rows else 0))
        size //= 10
    return [Size(0, 0), *reversed(sizes)]


def table(costs: Mapping[str, Mapping[Size, Cost]]) -> str:
    """Return a Markdown table: the costs of an empty log, and the ratio at each size."""
    sizes = list(next(iter(costs.values())))
    heads = [f"{size.rows:,} rows, {size.listeners:,} offline" for size in sizes]
    lines = [
        f"| | empty: ms | {' | '.join(heads)} |",
        "|---|" + "---:|" * (len(sizes) + 1),
    ]
    for what, by_size in costs.items():
        cells = [f"{by_size[size].ratio():.2f} ×" for size in sizes]
        lines.append(f"| {what} | {quietest_ms(by_size):.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def quietest_ms(by_size: Mapping[Size, Cost]) -> float:
    """Return the empty log's cost at the time when the machine was disturbed least."""
    return min(cost.ms_empty() for cost in by_size.values())


def not_flat(costs: Mapping[str, Mapping[Size, Cost]]) -> list[str]:
    """Return the operations that cost over FLAT times the empty log at the largest size."""
    return [what for what, sizes in costs.items() if list(sizes.values())[-1].ratio() > FLAT]


@dataclass
class Trim:
    """The seconds of removing old rows, and of publishing before and during the removal."""

    how: str
    rows: int
    seconds: float
    batches: list[float]
    alone: list[float]
    beside: list[float]

    def delay_ms(self) -> float:
        """Return by how much the removal raised the 99th percentile of publishing, in ms."""
        return (percentile(self.beside, 0.99) - percentile(self.alone, 0.99)) * 1_000

    def sentence(self) -> str:
        """Return all figures as a sentence."""
        first, last = (statistics.median(part) for part in (self.batches[:50], self.batches[-50:]))
        publish = [
            f"{percentile(times, share) * 1_000:.1f}"
            for times in (self.beside, self.alone)
            for share in (0.5, 0.99, 1)
        ]
        return (
            f"{self.rows:,} rows removed {self.how}: {self.seconds:.0f} s, a batch took "
            f"{first * 1_000:.0f} ms (the last 50: {last * 1_000:.0f}); {len(self.beside):,} "
            f"publishes during it took {' / '.join(publish[:3])} ms (p50, p99, longest), "
            f"before it {' / '.join(publish[3:])}"
        )
