"""One thread with one database connection, for an event loop's use."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from eric_sse_django.log import reconnect_if_replaced
from eric_sse_django.workers import FIRST, NEXT, Hung, Workers

__all__ = ["FIRST", "NEXT", "DatabaseThread", "Hung"]

T = TypeVar("T")


class DatabaseThread(Workers):
    """Runs functions one after another, each within a deadline: see Workers."""

    def __init__(
        self, name: str, deadline_s: Callable[[], float], replaced: Counter[str] | None = None
    ) -> None:
        super().__init__(name, deadline_s, Counter() if replaced is None else replaced)

    def submit(self, rank: int, function: Callable[..., T], *args: object) -> Future[T]:
        """As Workers.submit(); a SQLite file that was replaced is opened anew before."""
        return super().submit(rank, _on_the_file_that_is_there, function, *args)

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Return function(*args) from the thread; waits for those that were here before."""
        return await asyncio.wrap_future(self.submit(NEXT, function, *args))

    async def run_first(self, function: Callable[..., T], *args: object) -> T:
        """As run(), before all that wait in run()."""
        return await asyncio.wrap_future(self.submit(FIRST, function, *args))


def _on_the_file_that_is_there(function: Callable[..., T], *args: object) -> T:
    reconnect_if_replaced()
    return function(*args)
