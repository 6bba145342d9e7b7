"""A part of the log, as it was read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from eric_sse_django.entry import RESET, Entry

place = attrgetter("position")


class Page(list[Entry]):
    """
    Entries in order, and `reached`: all that there is up to this position is among them.

    May be empty where more follows, when what was found was removed while it was read.
    `owes` is the position of an `eric-reset` that is to come after it, 0 for none.
    """

    def __init__(self, entries: Iterable[Entry], reached: int, owes: int = 0) -> None:
        super().__init__(entries)
        self.reached = reached
        self.owes = owes

    @classmethod
    def merged(cls, pages: Sequence[Page], limit: int) -> Page:
        """Return the first `limit` entries of pages that were read side by side."""
        if len(pages) == 1 and len(pages[0]) <= limit:
            return pages[0]
        reached = min(page.reached for page in pages)
        entries = sorted((entry for page in pages for entry in page), key=place)
        if len(entries) > limit:
            reached = min(reached, entries[limit - 1].position)
        page = cls(entries, reached, max(page.owes for page in pages))
        return page.cut(sum(entry.position <= reached for entry in entries), reached)

    def cut(self, most: int, reached: int) -> Page:
        """Return the first entries, and that it owes what resets are among the others."""
        left = [entry.position for entry in self[most:] if entry.type == RESET]
        return Page(self[:most], reached, max(self.owes, *left, 0))
