"""Something that fails, said once when it begins and once when it is over."""

from __future__ import annotations

import logging
import time

from eric_sse_django.backoff import Backoff

# Seconds no try is put off longer than: a database that restarts is back in about this.
LAST_DELAY_S = 5.0


class Outage:
    """
    The failures in a row of one named thing, for the loop that retries it.

    Not for use from several threads, but that any may ask for `trouble`.
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self.what = what
        self._backoff = Backoff(LAST_DELAY_S)
        self._failures = 0
        self._since: float | None = None

    @property
    def trouble(self) -> str | None:
        """Since when it fails, as a sentence's part; None while it works."""
        since = self._since
        return None if since is None else f"{self.what} fails for {time.monotonic() - since:.0f} s"

    def lasts_s(self) -> float:
        """Return the seconds for which it has failed, 0.0 while it works."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def failed(self) -> float:
        """
        Note one more failure; return the seconds to wait, growing and jittered.

        Call it where the exception is handled: the first in a row is logged with it.
        """
        self._failures += 1
        if self._failures == 1:
            self._since = time.monotonic()
            self._logger.error("%s failed, trying again until it works", self.what, exc_info=True)  # noqa: LOG014
        return self._backoff.next_delay_s()

    def over(self) -> None:
        """Note that it works; say so when it had failed."""
        if self._failures:
            self._logger.warning("%s works again after %d failures", self.what, self._failures)
            self._failures, self._since = 0, None
            self._backoff.reset()
