"""A page of the log: entries in order, and how far they reach; pages of channels are merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from eric_sse_django.entry import RESET, Entry

position_of = attrgetter("position")


class Page(list[Entry]):
    """
    Entries in order, with all that there are up to the position `reached`.

    May be empty though more follows, when what was found was removed while it was read.
    `later_reset` is the position of an `eric-reset` that must follow it, 0 for none.
    """

    def __init__(self, entries: Iterable[Entry], reached: int, later_reset: int = 0) -> None:
        super().__init__(entries)
        self.reached = reached
        self.later_reset = later_reset

    @classmethod
    def merged(cls, pages: Sequence[Page], limit: int) -> Page:
        """Return the first `limit` entries of pages that were read side by side."""
        if len(pages) == 1 and len(pages[0]) <= limit:
            return pages[0]
        reached = min(page.reached for page in pages)
        entries = sorted((entry for page in pages for entry in page), key=position_of)
        if len(entries) > limit:
            reached = min(reached, entries[limit - 1].position)
        page = cls(entries, reached, max(page.later_reset for page in pages))
        return page.cut(sum(entry.position <= reached for entry in entries), reached)

    def cut(self, most: int, reached: int) -> Page:
        """Return the first entries; resets among the others follow the page later."""
        left = [entry.position for entry in self[most:] if entry.type == RESET]
        return Page(self[:most], reached, max(self.later_reset, *left, 0))
