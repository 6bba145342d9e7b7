"""How much to read from the log at once."""

from __future__ import annotations

from eric_sse_django.entry import Entry

FIRST_ROWS = 64


class ReadLimit:
    """A number of rows that follows the messages' sizes, so that they take about `most_bytes`."""

    def __init__(self, most_bytes: int, most_rows: int) -> None:
        self.rows = min(FIRST_ROWS, most_rows)
        self._most_bytes = most_bytes
        self._most_rows = most_rows

    def fit(self, entries: list[Entry]) -> list[Entry]:
        """Return the first entries that fit in `most_bytes`, one at least; adapt `rows`."""
        total = 0
        for index, entry in enumerate(entries):
            total += entry.size
            if total > self._most_bytes and index:
                self.rows = max(1, index)
                return entries[:index]
        if total * 2 <= self._most_bytes:
            self.rows = min(self._most_rows, self.rows * 2)
        return entries
