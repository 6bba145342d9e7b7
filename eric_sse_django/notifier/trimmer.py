"""Removing old messages from time to time, on a separate thread."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from eric_sse_django import conf
from eric_sse_django.log import Chore, Log
from eric_sse_django.outage import Outage
from eric_sse_django.workers import NEXT, Hung, Workers, disconnect

logger = logging.getLogger(__name__)

# Seconds between two batches of a trim: others may write meanwhile.
GAP_S = 0.05
# Seconds a batch may take before its thread is replaced. It takes some milliseconds, and waits
# a few seconds for locks.
DEADLINE_S = 60.0
# Seconds after its last batch when the thread ends, and closes its connection.
TRIMMER_IDLE_S = 1.0
# Seconds between two checks whether the setting enables trims.
OFF_S = 10.0


class Trimmer:
    """
    Removes what has passed its retention each TRIM_INTERVAL_S, in batches.

    On no thread that others wait for. A Watchdog calls tick(); `soon` makes it call at once.
    `chores` returns what other apps do on the same thread.
    """

    def __init__(
        self,
        log: Log,
        replaced: Counter[str],
        soon: Callable[[], None],
        chores: Callable[[], Sequence[Chore]] = tuple,
    ) -> None:
        self._log = log
        self._chores = chores
        self._chores_at: dict[Callable[[], object], float] = {}  # when each is due
        self._chores_outage = Outage(logger, "the chores of other apps")
        self.outage = Outage(logger, "removing old messages")
        self._workers = Workers(
            "eric-sse-trimmer", lambda: DEADLINE_S, replaced, idle_s=TRIMMER_IDLE_S
        )
        self._soon = soon
        self._at: float | None = None  # when the next batch is due
        self._batch: Future[None] | None = None

    def tick(self, now: float) -> float:
        """Begin a batch if one is due; return the seconds to the next."""
        self._workers.check(now)
        if self._at is None:
            self._at = now + (_pause_s() or OFF_S)
        elif now >= self._at and (self._batch is None or self._batch.done()):
            # Set before: one that fails is tried again at its next time, not at once.
            pause_s = _pause_s()
            self._at = now + (pause_s or OFF_S)
            with contextlib.suppress(Hung, RuntimeError):
                self._batch = self._workers.submit(NEXT, self._trim) if pause_s else None
        return max(GAP_S, min([self._at, *self._plan_chores(now)]) - now)

    def _plan_chores(self, now: float) -> list[float]:
        """Begin the chores that are due; return when each is due next."""
        for chore in self._chores():
            interval_s = chore.interval_s() * random.uniform(0.75, 1.25)
            if chore.do not in self._chores_at:
                self._chores_at[chore.do] = now + (interval_s or OFF_S)
            elif now >= self._chores_at[chore.do]:
                self._chores_at[chore.do] = now + (interval_s or OFF_S)
                with contextlib.suppress(Hung, RuntimeError):
                    if interval_s:
                        self._workers.submit(NEXT, self._do, chore)
        return list(self._chores_at.values())

    def close(self) -> None:
        """Begin no more batches. Returns at once."""
        self._workers.close()

    def join(self, timeout_s: float) -> None:
        """Wait until a closed one has ended, `timeout_s` at most."""
        self._workers.join(timeout_s)

    def _do(self, chore: Chore) -> None:
        try:
            chore.do()
        except Exception:  # noqa: BLE001 - the loop that owns these calls
            disconnect()
            self._chores_outage.failed()
        else:
            self._chores_outage.over()

    def _trim(self) -> None:
        try:
            removed = self._log.trim()
        except Exception:  # noqa: BLE001 - the loop that owns these calls
            disconnect()
            self.outage.failed()
            return
        self.outage.over()
        if removed:
            self._at = time.monotonic() + GAP_S
            self._soon()


def _pause_s() -> float:
    """Return the seconds to the next trim, jittered so that processes take turns; 0: never."""
    pause_s: float = conf.get("TRIM_INTERVAL_S")
    return pause_s * random.uniform(0.75, 1.25)
