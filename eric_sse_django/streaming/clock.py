"""When a stream is silent, stuck in a write, or old."""

from __future__ import annotations

import random
import time

from eric_sse_django import conf

# Seconds one write may take once the stream is to end: a server that stops, stops soon.
LAST_WRITE_S = 2.0


class Clock:
    """The times of one stream, for the hub's timer. Starts when it is made."""

    __slots__ = ("_ends_at", "_heartbeat_s", "_send_timeout_s", "_since", "is_writing")

    def __init__(self, ends_at: float | None) -> None:
        """`ends_at` is the time.monotonic() at which it is old, if not before."""
        age = conf.get("MAX_STREAM_AGE_S") * random.uniform(0.8, 1)
        self._since = time.monotonic()
        self._ends_at: float = min(self._since + age, float("inf") if ends_at is None else ends_at)
        self._heartbeat_s: float = conf.get("HEARTBEAT_S")
        self._send_timeout_s: float = conf.get("SEND_TIMEOUT_S")
        self.is_writing = False

    def never_ends(self) -> None:
        """Have it never be old."""
        self._ends_at = float("inf")

    def writes(self) -> None:
        """Note that a write has begun."""
        self.is_writing, self._since = True, time.monotonic()

    def wrote(self) -> None:
        """Note that nothing is being written, and the client has heard of us."""
        self.is_writing = False

    def due_at(self, now: float) -> float:
        """Return when to look next; what is written later only defers it."""
        # What is silent is written to at once.
        since = now if self.is_silent(now) else self._since
        return min(self._ends_at, since + min(self._heartbeat_s, self._send_timeout_s))

    def is_old(self, now: float) -> bool:
        return now >= self._ends_at

    def is_silent(self, now: float) -> bool:
        return not self.is_writing and now - self._since >= self._heartbeat_s

    def is_stuck(self, now: float, ends: bool) -> bool:
        """Whether a write takes too long; less is too long for a stream that `ends`."""
        limit = min(LAST_WRITE_S, self._send_timeout_s) if ends else self._send_timeout_s
        return self.is_writing and now - self._since >= limit
