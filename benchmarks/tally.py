"""Counts what one reader got by number, to find lost, repeated and disordered messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The numbers as bytes: comparing bytes is several times cheaper than int().
_NUMBERS: list[bytes] = []


def _numbers(upto: int) -> list[bytes]:
    _NUMBERS.extend(str(number).encode() for number in range(len(_NUMBERS), upto))
    return _NUMBERS


@dataclass
class Wrong:
    """What was lost, repeated and out of order."""

    lost: int = 0
    repeated: int = 0
    disordered: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost or self.repeated or self.disordered)

    def __add__(self, other: Wrong) -> Wrong:
        return Wrong(
            self.lost + other.lost,
            self.repeated + other.repeated,
            self.disordered + other.disordered,
        )


class Tally:
    """
    The numbers 0, 1, … that one reader has to get, each once, in this order.

    `count` is how many different ones arrived. A number is disordered if it first arrives after
    a higher one; an unexpected number counts as repeated.
    """

    __slots__ = ("_highest", "_seen", "count", "disordered", "expected", "repeated")

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.count = self.repeated = self.disordered = 0
        self._seen: set[int] | None = None  # created at the first error
        self._highest = -1

    def add(self, numbers: Sequence[bytes]) -> None:
        """Count the numbers of some events, in the order of arrival."""
        if self._seen is None:
            upto = self.count + len(numbers)
            if upto <= self.expected and numbers == _numbers(upto)[self.count : upto]:
                self.count = upto
                return
            self._seen, self._highest = set(range(self.count)), self.count - 1
        for number in map(int, numbers):
            self._count(number, self._seen)

    def _count(self, number: int, seen: set[int]) -> None:
        if number in seen or number >= self.expected:
            self.repeated += 1
            return
        seen.add(number)
        self.count += 1
        self.disordered += number < self._highest
        self._highest = max(self._highest, number)

    def wrong(self) -> Wrong:
        """Return the errors, if nothing more arrives."""
        return Wrong(self.expected - self.count, self.repeated, self.disordered)
