"""When a stream needs a heartbeat, is stuck in a write, or is old."""

from __future__ import annotations

import random
import time

from eric_sse_django import conf

# Seconds one write may take once the stream must end: a server that stops, stops soon.
LAST_WRITE_S = 2.0


class Clock:
    """
    When one stream is silent, stuck in a write, or old: for the hub's timer.

    Starts when it is built. `since` is the time.monotonic() of the last write's begin.
    """

    __slots__ = ("_ends_at", "_send_timeout_s", "heartbeat_s", "is_writing", "since")

    def __init__(self, ends_at: float | None = None, ages: bool = True) -> None:
        """`ends_at` is the time.monotonic() at which it is old, if that is before its age."""
        self.since = time.monotonic()
        self._ends_at = float("inf")
        self.heartbeat_s: float
        self._send_timeout_s: float
        age, self.heartbeat_s, self._send_timeout_s = conf.several(
            "MAX_STREAM_AGE_S", "HEARTBEAT_S", "SEND_TIMEOUT_S"
        )
        if ages:
            age *= random.uniform(0.8, 1)
            self._ends_at = min(self.since + age, self._ends_at if ends_at is None else ends_at)
        self.is_writing = False

    def writes(self) -> None:
        """Note that a write has begun."""
        self.is_writing, self.since = True, time.monotonic()

    def wrote(self) -> None:
        """Note that the write has ended."""
        self.is_writing = False

    def due_at(self, now: float) -> float:
        """Return when to look next; what is written later only defers it."""
        # What is silent is written to at once.
        since = now if self.is_silent(now) else self.since
        return min(self._ends_at, since + min(self.heartbeat_s, self._send_timeout_s))

    def is_old(self, now: float) -> bool:
        return now >= self._ends_at

    def is_silent(self, now: float) -> bool:
        return not self.is_writing and now - self.since >= self.heartbeat_s

    def is_stuck(self, now: float, ends: bool) -> bool:
        """Return whether a write takes too long; a stream that `ends` has less time for it."""
        limit = min(LAST_WRITE_S, self._send_timeout_s) if ends else self._send_timeout_s
        return self.is_writing and now - self.since >= limit
