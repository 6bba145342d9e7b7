"""The latest entries of each feed in memory, and what all of them may take together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from eric_sse_django.entry import Entry

# Bytes of one ring at most: one loud channel is not to have all there is.
MAX_RING_BYTES = 8_388_608
# Bytes that an entry takes beside its text, which is there twice: in it, and in its frame.
# Measured: 430 on Python 3.11 for a type of 5 characters.
ENTRY_BYTES = 450


class Rings:
    """
    What the rings of a hub take together: within `max_bytes`, the quietest goes first.

    A ring's bytes are estimated, frames included. Costs a ring that gets entries the same,
    whatever the number of others.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._quietest_first: dict[Ring, None] = {}

    def heard(self, ring: Ring) -> None:
        """Note that a ring got entries, and make room for them."""
        self._quietest_first.pop(ring, None)
        self._quietest_first[ring] = None
        self.make_room()

    def forget(self, ring: Ring) -> None:
        """Note that a ring is empty."""
        self._quietest_first.pop(ring, None)

    def make_room(self) -> None:
        """Empty the quietest rings until the others fit; the last one keeps what fits."""
        while self.bytes > self.max_bytes and self._quietest_first:
            quietest = next(iter(self._quietest_first))
            quietest.shrink(self.bytes - self.max_bytes, whole=len(self._quietest_first) > 1)


class Ring:
    """
    Entries, oldest first: every one of a feed's with a position over `floor`.

    It has MAX_RING_BYTES and `max_entries` at most, and its share of `rings`.
    """

    def __init__(self, rings: Rings, floor: int, max_entries: int) -> None:
        self.floor = floor
        self.bytes = 0
        self._rings = rings
        self._entries: deque[Entry] = deque()
        self._max_entries = max_entries

    def keep(self, entries: list[Entry]) -> None:
        """Add the next entries; the oldest go where they are too many."""
        self._entries.extend(entries)
        self._count(sum(map(_bytes, entries)))
        while len(self._entries) > self._max_entries or self.bytes > MAX_RING_BYTES:
            self._drop()
        if self._entries:
            self._rings.heard(self)
        else:
            self._rings.forget(self)

    def since(self, position: int, gets: Callable[[Entry], bool]) -> list[Entry] | None:
        """Return what came after `position` and `gets` holds for; None: it begins later."""
        if position < self.floor:
            return None
        newest_first = filter(gets, _while_after(reversed(self._entries), position))
        return list(newest_first)[::-1]

    def clear(self, floor: int) -> None:
        """Forget all, as if it began at `floor`."""
        self._entries.clear()
        self._count(-self.bytes)
        self.floor = floor
        self._rings.forget(self)

    def shrink(self, by: int, whole: bool) -> None:
        """Forget the oldest entries, of at least `by` bytes together, or the `whole` of it."""
        if whole:
            self.clear(self._entries[-1].position)
            return
        left = self.bytes - by
        while self._entries and self.bytes > left:
            self._drop()
        if not self._entries:
            self._rings.forget(self)

    def _drop(self) -> None:
        oldest = self._entries.popleft()
        self._count(-_bytes(oldest))
        self.floor = oldest.position

    def _count(self, size: int) -> None:
        self.bytes += size
        self._rings.bytes += size


def _bytes(entry: Entry) -> int:
    return ENTRY_BYTES + 2 * entry.size


def _while_after(newest_first: Iterable[Entry], position: int) -> Iterable[Entry]:
    for entry in newest_first:
        if entry.position <= position:
            return
        yield entry
