"""The thread that calls the others' timers."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)


class Watch:
    """
    Calls tick() on one daemon thread, from start() to close().

    tick() returns the seconds to its next call. It must not wait for anything, such as a database:
    it replaces calls that hang, so it must not hang itself. What it raises is logged once, and
    it is called again.
    """

    def __init__(self, tick: Callable[[], float]) -> None:
        self._tick = tick
        self._changed = threading.Condition()
        self._is_due = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._outage = Outage(logger, "watching threads")

    def start(self) -> bool:
        """
        Start the thread, unless it runs; return whether it does.

        Not while the interpreter ends: Python 3.12 starts no threads then.
        """
        with self._changed, contextlib.suppress(RuntimeError):
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name="eric-sse-watch", daemon=True)
                thread.start()
                self._thread = thread
        return self._thread is not None

    def soon(self) -> None:
        """Call tick() now. Returns at once."""
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """End the thread; waits `timeout_s` at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._is_due, pause_s)
                self._is_due = False
                if self._closed:
                    return
            pause_s = self._pause_s()

    def _pause_s(self) -> float:
        try:
            pause_s = self._tick()
        except Exception:  # noqa: BLE001 - the loop that owns this thread
            return self._outage.failed()
        self._outage.over()
        return pause_s
