"""Database work that could not be done, and the thread that repeats it until it succeeds."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from eric_sse_django.outage import Outage
from eric_sse_django.workers import disconnect

logger = logging.getLogger(__name__)

Key = TypeVar("Key")

# Items that wait at most: 20 MB. When exceeded, the oldest are dropped, and that is logged.
MAX_PENDING = 100_000
# Seconds that close() waits for the thread.
CLOSE_S = 2.0


class RetryThread(Generic[Key]):
    """
    Calls run(items) on a daemon thread until it succeeds; the thread exists while items wait.

    Each key has a number, whose meaning is run()'s; of a key that is added twice the larger
    one counts. What waits when the process ends is lost.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[dict[Key, float]], object],
        outage: Callable[[], Outage],
        *,
        give_up_s: float = math.inf,
        otherwise: str = "",
    ) -> None:
        """
        `outage` builds what reports failures, which names the work.

        An item that fails for `give_up_s` is dropped, and the log shows `otherwise`: what the
        operator can do then.
        """
        self._name, self._do, self._new_outage = name, run, outage
        self._give_up_s, self._otherwise = give_up_s, otherwise
        self._reset()
        # The parent's thread does not exist in a child, and does what waits in the parent.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Key, tuple[float, float]] = {}  # its number, and when to give it up
        self._running: dict[Key, tuple[float, float]] = {}
        self._thread: threading.Thread | None = None
        self._closing = False
        self._outage = self._new_outage()

    def is_failing(self) -> bool:
        """Return whether the last call failed."""
        return self._outage.trouble is not None

    def waiting(self) -> int:
        """Return how many items wait or are being run."""
        with self._changed:
            return len(self._waiting) + len(self._running)

    def add(self, items: Mapping[Key, float]) -> None:
        """Run the items as soon as that succeeds. Returns at once; raises nothing."""
        gives_up_at = time.monotonic() + self._give_up_s
        with self._changed:
            self._put({key: (number, gives_up_at) for key, number in items.items()})
            excess = list(self._waiting)[: max(0, len(self._waiting) - MAX_PENDING)]
            for key in excess:
                del self._waiting[key]
            if self._thread is None:
                self._closing = False
                thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                # Where no thread can be started, the next add() tries again.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread
        if excess:
            what = self._outage.what
            logger.error("%s: %d items were dropped, too many wait", what, len(excess))

    def close(self) -> None:
        """Drop what waits and end the thread; waits CLOSE_S at most."""
        with self._changed:
            self._closing, thread = True, self._thread
            self._waiting.clear()
            self._changed.notify_all()
        if thread is not None:
            thread.join(CLOSE_S)

    def _put(self, items: Mapping[Key, tuple[float, float]]) -> None:
        for key, item in items.items():
            number, gives_up_at = self._waiting.get(key, item)
            self._waiting[key] = max(number, item[0]), max(gives_up_at, item[1])

    def _loop(self) -> None:
        try:
            while self._run():
                pass
        finally:
            disconnect()

    def _run(self) -> bool:
        """Run what waits; return False when nothing does, to end the thread."""
        with self._changed:
            # What is added meanwhile is run after these, also the same key again.
            items = self._running = self._waiting
            self._waiting = {}
            if self._closing or not items:
                self._running, self._thread = {}, None
                return False
        try:
            self._do({key: number for key, (number, _) in items.items()})
        except Exception:  # noqa: BLE001 - the loop that owns this thread
            self._failed(items)
        else:
            self._outage.over()
            with self._changed:
                self._running = {}
        return True

    def _failed(self, items: Mapping[Key, tuple[float, float]]) -> None:
        """Keep the items for another attempt, and wait until then. Called where it was caught."""
        disconnect()
        delay_s, now = self._outage.failed(), time.monotonic()
        kept = {key: item for key, item in items.items() if item[1] > now}
        if len(kept) < len(items):
            logger.error("gave up %s: %s", self._outage.what, self._otherwise)
        with self._changed:
            added, self._waiting, self._running = self._waiting, kept, {}
            self._put(added)
            self._changed.wait_for(lambda: self._closing, delay_s)
