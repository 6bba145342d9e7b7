"""Revocations that could not be written when they were due: tried again until they are."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Mapping

from eric_sse_django.authorization.revocation import withdraw
from eric_sse_django.outage import Outage
from eric_sse_django.workers import disconnect

logger = logging.getLogger(__name__)

# Subjects that wait at most: 20 MB. The oldest are dropped for others, and that is logged.
MAX_WAITING = 100_000
# Seconds that close() waits for the thread.
CLOSE_S = 2.0


class Later:
    """
    What waits, and the daemon thread that writes it; the thread is there while something waits.

    What a process that ends has not written is lost: its subjects keep their streams up to
    MAX_STREAM_AGE_S, and their tickets as long as those are good.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: dict[str, float] = {}
        self._also: dict[str, None] = {}
        self._written = 0  # how many are being written
        self._thread: threading.Thread | None = None
        self._closing = False
        self._outage = Outage(logger, "revoking access")

    @property
    def outage(self) -> Outage:
        """What it does that may fail."""
        return self._outage

    def waits(self) -> int:
        """Return how many subjects wait to be revoked."""
        with self._changed:
            return len(self._kept) + len(self._also) + self._written

    def withdraw(self, kept: Mapping[str, float], also: Iterable[str] = ()) -> None:
        """Revoke subjects as withdraw() does, as soon as that is possible. Returns at once."""
        with self._changed:
            self._kept.update(kept)
            self._also.update(dict.fromkeys(also))
            dropped = _bound(self._kept) + _bound(self._also)
            if self._thread is None:
                self._closing = False
                thread = threading.Thread(target=self._run, name="eric-sse-revoking", daemon=True)
                # Where none can be started now, the next one that is to be revoked tries again.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread
        if dropped:
            logger.error("%d revocations were dropped: too many wait for the database", dropped)

    def close(self) -> None:
        """End the thread, whatever waits; waits CLOSE_S at most."""
        with self._changed:
            self._closing, thread = True, self._thread
            self._kept.clear()
            self._also.clear()
            self._changed.notify_all()
        if thread is not None:
            thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            while self._try():
                pass
        finally:
            disconnect()

    def _try(self) -> bool:
        """Write what waits; False when nothing is left, and the thread is to end."""
        with self._changed:
            # What comes while these are written is written after them, also the same again.
            (kept, self._kept), (also, self._also) = (self._kept, {}), (self._also, {})
            self._written = len(kept) + len(also)
            if self._closing or not self._written:
                self._written, self._thread = 0, None
                return False
        try:
            withdraw(kept, also)
        except Exception:  # noqa: BLE001 - the loop that owns this thread
            disconnect()
            delay_s = self._outage.failed()
            with self._changed:
                self._written = 0
                self._kept, self._also = kept | self._kept, also | self._also
                self._changed.wait_for(lambda: self._closing, delay_s)
            return True
        self._outage.over()
        with self._changed:
            self._written = 0
        return True


def _bound(waiting: dict[str, float] | dict[str, None]) -> int:
    """Drop the oldest beyond MAX_WAITING; return how many."""
    dropped = max(0, len(waiting) - MAX_WAITING)
    for subject in list(waiting)[:dropped]:
        waiting.pop(subject)
    return dropped


later = Later()


def _forget_after_fork() -> None:
    # The parent's thread is not here, and writes what waits there.
    global later
    later = Later()


os.register_at_fork(after_in_child=_forget_after_fork)
