"""What other apps do to their tables from time to time, in each process that publishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Chore(NamedTuple):
    """A function, and one that returns the seconds between two calls of it: 0 for never."""

    do: Callable[[], object]
    interval_s: Callable[[], float]


_chores: list[Chore] = []


def add_chore(do: Callable[[], object], interval_s: Callable[[], float]) -> None:
    """
    Call a function from time to time, on the thread that trims the log.

    Nothing waits for it. What it raises is logged, and it is called again at its next time.
    """
    if all(each.do != do for each in _chores):
        _chores.append(Chore(do, interval_s))


def chores() -> tuple[Chore, ...]:
    """Return all of them."""
    return tuple(_chores)
