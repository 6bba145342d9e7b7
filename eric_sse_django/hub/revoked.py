"""What was revoked lately."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from eric_sse_django.hub.ends import End
from eric_sse_django.hub.subjects import Endable, keys_of

# Seconds for which it is remembered: longer than a stream takes from the look at its access to
# its place among the hub's, where it is found by its subjects.
REMEMBERED_S = 60.0


class Revoked:
    """
    Subjects, and the positions at which the log says that they are revoked.

    `notify` is called with each notice's subjects. Only for the hub's loop.
    """

    def __init__(self) -> None:
        self.notify: Callable[[frozenset[str]], None] = lambda subjects: None
        self._lately: deque[tuple[float, int, frozenset[str]]] = deque()
        self._begun = 0

    def begin(self, position: int) -> None:
        """Note that a history of the log began: what was looked up before may be others' now."""
        self._begun = position
        self._lately.clear()

    def note(self, position: int, subjects: frozenset[str]) -> None:
        """Notify what is open, and remember it for what is about to be."""
        now = time.monotonic()
        while self._lately and now - self._lately[0][0] > REMEMBERED_S:
            self._lately.popleft()
        self._lately.append((now, position, subjects))
        self.notify(subjects)

    def catch_up(self, one: Endable, position: int) -> None:
        """End what a notice since a position would have ended, had it been open."""
        if position < self._begun:
            one.end(End.HISTORY)
            return
        for _, at, subjects in reversed(self._lately):
            if at <= position:
                return
            if not set(keys_of(subjects)).isdisjoint(one.subjects):
                one.end(End.REVOKED)
                return
