"""How long things take, counted in buckets: a histogram."""

from __future__ import annotations

from bisect import bisect_left

# Seconds. From what one loop's turn takes to where a person has given up waiting.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Delays:
    """
    Counts delays by the first of BOUNDS_S that is no shorter; the last count is of longer ones.

    One thread notes, any may read. 0.5 µs a delay.
    """

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def note(self, seconds: float) -> None:
        """Count one delay; one below 0 (two clocks) counts as 0."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def add(self, other: Delays) -> None:
        """Count all that `other` has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s
