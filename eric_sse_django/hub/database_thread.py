"""One thread with one database connection, for an event loop's use."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from eric_sse_django.log import connected
from eric_sse_django.workers import FIRST, NEXT, Hung, Workers

__all__ = ["FIRST", "NEXT", "DatabaseThread", "Hung"]

T = TypeVar("T")


class DatabaseThread(Workers):
    """Runs functions one after another, on the SQLite file that is there: see Workers."""

    def __init__(
        self, name: str, deadline_s: Callable[[], float], replaced: Counter[str] | None = None
    ) -> None:
        counted = Counter() if replaced is None else replaced
        super().__init__(name, deadline_s, counted, before=connected)

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Return function(*args) from the thread; waits for those that were here before."""
        return await asyncio.wrap_future(self.submit(NEXT, function, *args))

    async def run_first(self, function: Callable[..., T], *args: object) -> T:
        """As run(), before all that wait in run()."""
        return await asyncio.wrap_future(self.submit(FIRST, function, *args))
