"""The latest entries of each feed in memory, and what all of them may take together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from eric_sse_django.entry import Entry

# Bytes of one ring buffer at most: one busy channel must not use all memory that there is.
MAX_RING_BYTES = 8_388_608
# Bytes that an entry takes beside its text, which is there twice: in it, and in its frame.
# Measured: 430 on Python 3.11 for a type of 5 characters.
ENTRY_BYTES = 450


class Budget:
    """
    The bytes of all ring buffers of a hub: over `max_bytes`, the least recently filled is emptied.

    A buffer's bytes are estimated, frames included. Filling one costs the same, whatever the
    number of the others.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._quietest_first: dict[RingBuffer, None] = {}

    def filled(self, buffer: RingBuffer) -> None:
        """Note that a buffer got entries, and make room for them."""
        self._quietest_first.pop(buffer, None)
        self._quietest_first[buffer] = None
        if self.bytes > self.max_bytes:
            self.make_room()

    def emptied(self, buffer: RingBuffer) -> None:
        """Note that a buffer is empty."""
        self._quietest_first.pop(buffer, None)

    def make_room(self) -> None:
        """Empty the quietest buffers until the others fit; the last one keeps what fits."""
        while self.bytes > self.max_bytes and self._quietest_first:
            quietest = next(iter(self._quietest_first))
            quietest.shrink(self.bytes - self.max_bytes, whole=len(self._quietest_first) > 1)


class RingBuffer:
    """
    Entries, oldest first: all entries of a feed with a position over `floor`.

    It has MAX_RING_BYTES and `max_entries` at most, and its share of the `budget`.
    """

    def __init__(self, budget: Budget, floor: int, max_entries: int) -> None:
        self.floor = floor
        self.bytes = 0
        self._budget = budget
        self._entries: deque[Entry] = deque()
        self._max_entries = max_entries

    def keep(self, entries: list[Entry]) -> None:
        """Add the next entries; if that is too many, drop the oldest."""
        self._entries.extend(entries)
        size = len(entries) * ENTRY_BYTES
        for entry in entries:
            size += 2 * entry.size
        self.bytes += size
        self._budget.bytes += size
        while len(self._entries) > self._max_entries or self.bytes > MAX_RING_BYTES:
            self._drop()
        if self._entries:
            self._budget.filled(self)
        else:
            self._budget.emptied(self)

    def since(self, position: int, gets: Callable[[Entry], bool]) -> list[Entry] | None:
        """Return the entries after `position` for which `gets` is true; None: it begins later."""
        if position < self.floor:
            return None
        found = []
        for entry in reversed(self._entries):
            if entry.position <= position:
                break
            if gets(entry):
                found.append(entry)
        return found[::-1]

    def clear(self, floor: int) -> None:
        """Drop all, as if it began at `floor`."""
        self._entries.clear()
        self._budget.bytes -= self.bytes
        self.bytes = 0
        self.floor = floor
        self._budget.emptied(self)

    def shrink(self, by: int, whole: bool) -> None:
        """Drop the oldest entries, of at least `by` bytes together, or the `whole` of it."""
        if whole:
            self.clear(self._entries[-1].position)
            return
        left = self.bytes - by
        while self._entries and self.bytes > left:
            self._drop()
        if not self._entries:
            self._budget.emptied(self)

    def _drop(self) -> None:
        oldest = self._entries.popleft()
        size = ENTRY_BYTES + 2 * oldest.size
        self.bytes -= size
        self._budget.bytes -= size
        self.floor = oldest.position
