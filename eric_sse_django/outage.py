"""Repeated failures: logged once, or at their beginning and end; retried after a delay."""

from __future__ import annotations

import logging
import random
import time

# Seconds before the second attempt; doubled at each further failure. Short enough that a person
# does not notice a database that was restarted.
FIRST_DELAY_S = 0.25
# Seconds before any attempt at most: what works again is noticed within half a minute.
MAX_DELAY_S = 30.0
# Of an outage: a database that restarts needs about this.
MAX_OUTAGE_DELAY_S = 5.0
# Seconds without a case after which the next one is logged again: twice the longest delay
# before a refused client reconnects, so that one such client is not logged each time.
QUIET_S = 120.0
# Kinds that are remembered: names of settings and exceptions, not of clients.
MAX_KINDS = 100


class Backoff:
    """Counts failures in a row and returns how long to wait after each."""

    def __init__(self, max_delay_s: float = MAX_DELAY_S) -> None:
        self._max_delay_s = max_delay_s
        self._bound_s = FIRST_DELAY_S

    def reset(self) -> None:
        """Note a success: the next failure counts as the first."""
        self._bound_s = FIRST_DELAY_S

    def next_delay_s(self) -> float:
        """
        Note a failure, return the seconds to wait before the next attempt.

        At random between half the bound and the bound, so that the streams of a database
        that was unavailable do not all try again at the same moment.
        """
        bound_s = self._bound_s
        self._bound_s = min(self._max_delay_s, 2 * bound_s)
        return random.uniform(bound_s / 2, bound_s)


class Outage:
    """
    The failures in a row of one named task, for the loop that retries it.

    For one thread; any thread may read `failures` and `trouble`.
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self.what = what
        self.failures = 0
        self._logger = logger
        self._backoff = Backoff(MAX_OUTAGE_DELAY_S)
        self._since: float | None = None

    @property
    def trouble(self) -> str | None:
        """For how long it has failed, as part of a sentence; None while it works."""
        since = self._since
        if since is None:
            return None
        return f"{self.what} has failed for {time.monotonic() - since:.0f} s"

    def lasts_s(self) -> float:
        """Return the seconds for which it has failed, 0.0 while it works."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def failed(self) -> float:
        """
        Note one more failure; return the seconds to wait, growing and jittered.

        Call it where the exception is handled: the first in a row is logged with it.
        """
        self.failures += 1
        if self.failures == 1:
            self._since = time.monotonic()
            self._logger.error("%s failed, trying again until it works", self.what, exc_info=True)  # noqa: LOG014
        return self._backoff.next_delay_s()

    def over(self) -> None:
        """Note that it works; log that, if it had failed."""
        if self.failures:
            self._logger.warning("%s works again after %d failures", self.what, self.failures)
            self.failures, self._since = 0, None
            self._backoff.reset()


class Quiet:
    """For cases that occur with each request while they last: each kind is logged once."""

    def __init__(self) -> None:
        self._seen_at: dict[str, float] = {}

    def begins(self, kind: str) -> bool:
        """Record a case; return whether it is the first of its kind for QUIET_S."""
        now = time.monotonic()
        before = self._seen_at.get(kind)
        if before is None and len(self._seen_at) >= MAX_KINDS:
            self._seen_at.clear()
        self._seen_at[kind] = now
        return before is None or now - before > QUIET_S
