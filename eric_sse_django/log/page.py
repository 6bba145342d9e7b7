"""A part of the log, as it was read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from eric_sse_django.entry import Entry

place = attrgetter("position")


class Page(list[Entry]):
    """
    Entries in order, and `reached`: all that there is up to this position is among them.

    May be empty where more follows, when what was found was removed while it was read.
    """

    def __init__(self, entries: Iterable[Entry], reached: int) -> None:
        super().__init__(entries)
        self.reached = reached

    @classmethod
    def merged(cls, pages: Sequence[Page], limit: int) -> Page:
        """Return the first `limit` entries of pages that were read side by side."""
        reached = min(page.reached for page in pages)
        found = (entry for page in pages for entry in page if entry.position <= reached)
        entries = sorted(found, key=place)
        if len(entries) > limit:
            reached = entries[limit - 1].position
        return cls(entries[:limit], reached)
