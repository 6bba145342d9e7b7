"""What each reader got, in its order, so that readers can be compared. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from benchmarks.client import Crowd, Reader
from benchmarks.tally import Wrong


class Sequel:
    """The numbers that one reader got, in their order. Used instead of a Tally."""

    def __init__(self) -> None:
        self.numbers = array("q")

    @property
    def count(self) -> int:
        return len(self.numbers)

    def add(self, numbers: Sequence[bytes]) -> None:
        self.numbers.extend(map(int, numbers))


class Proxied(Crowd):
    """Readers behind a proxy."""

    protocol = "HTTP/1.0"


class Readers(Proxied):
    """Readers of several simultaneous publishers; all have to get everything in one order."""

    def _connect(self, path: str) -> Reader:
        reader = super()._connect(path)
        reader.tally = Sequel()  # type: ignore[assignment]
        return reader

    def __enter__(self) -> Readers:
        return self

    def sequences(self) -> list[array[int]]:
        return [reader.tally.numbers for reader in self.readers]  # type: ignore[attr-defined]


def compare(sequences: Sequence[array[int]], publishers: int, each: int) -> Wrong:
    """
    Return the errors in what readers got of the numbers 0, …, publishers * each - 1.

    Each publisher has consecutive numbers, which have to arrive in their order. The numbers of
    several publishers may mix in any way, but in the same way for all readers: of the numbers
    that a reader and the first reader both got, each one at a different place is out of order.
    """
    expected = set(range(publishers * each))
    found = Wrong()
    first = sequences[0]
    for sequence in sequences:
        distinct = set(sequence)
        found.lost += len(expected - distinct)
        found.repeated += len(sequence) - len(distinct) + len(distinct - expected)
        if sequence != first:
            both = distinct & set(first)
            pairs = zip(_once(sequence, both), _once(first, both), strict=True)
            found.disordered += sum(one != other for one, other in pairs)
    highest = [-1] * publishers
    for number in first:
        publisher = number // each
        if publisher < publishers:
            found.disordered += number < highest[publisher]
            highest[publisher] = max(number, highest[publisher])
    return found


def _once(sequence: Sequence[int], wanted: set[int]) -> list[int]:
    """Return the wanted numbers in the order in which they first arrived."""
    return [number for number in dict.fromkeys(sequence) if number in wanted]
