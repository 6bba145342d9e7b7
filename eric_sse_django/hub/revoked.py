"""Whose leave was taken back lately."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# Seconds for which it is remembered: longer than a stream takes from the look at who may
# open it to its place among the hub's, where it is told.
REMEMBERED_S = 60.0


class Revoked:
    """
    Subjects, and the positions at which the log says that they are revoked.

    `tell` is called with each notice's subjects. Only for the hub's loop.
    """

    def __init__(self) -> None:
        self.tell: Callable[[frozenset[str]], None] = lambda subjects: None
        self._lately: deque[tuple[float, int, frozenset[str]]] = deque()

    def note(self, position: int, subjects: frozenset[str]) -> None:
        """Tell it to who is there, and remember it for who is on the way."""
        now = time.monotonic()
        while self._lately and now - self._lately[0][0] > REMEMBERED_S:
            self._lately.popleft()
        self._lately.append((now, position, subjects))
        self.tell(subjects)

    def since(self, position: int) -> frozenset[str]:
        """Return who was revoked after a position at which the hub was lately."""
        found = (subjects for _, at, subjects in self._lately if at > position)
        return frozenset().union(*found)
