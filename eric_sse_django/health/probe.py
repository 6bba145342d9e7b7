"""A question to something that may be dead: the answer, or none, within a bound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connections

# Seconds for which an answer is given again: who asks without leave, and often, asks in vain.
FRESH_S = 1.0


@dataclass(frozen=True)
class Answer:
    """What was said, and why that is trouble, if it is; `cause` is the exception behind it."""

    says: str
    is_trouble: bool = False
    cause: BaseException | None = None


class Probe:
    """
    Asks on a thread of its own, one question at a time, and shares the answer.

    A question that hangs keeps that one thread: who comes meanwhile gets no answer, at once.
    """

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self.reset()

    def reset(self) -> None:
        """Forget everything: in a child process, the thread that asked is not there."""
        self._changed = threading.Condition()
        self._asked_at: float | None = None  # of the question under way
        self._answered_at = float("-inf")
        self._answer = Answer("")

    def begin(self) -> None:
        """Begin to ask, unless that is under way or the last answer is fresh. Never waits."""
        with self._changed:
            now = time.monotonic()
            if self._asked_at is not None or now - self._answered_at < FRESH_S:
                return
            threading.Thread(target=self._run, name="eric-sse-health", daemon=True).start()
            self._asked_at = now

    def answer(self, timeout_s: float) -> Answer:
        """Return the answer to what begin() asked, or that there was none after `timeout_s`."""
        with self._changed:
            if self._asked_at is not None:
                left_s = self._asked_at + timeout_s - time.monotonic()
                self._changed.wait_for(lambda: self._asked_at is None, max(0.0, left_s))
            if self._asked_at is not None:
                waited_s = time.monotonic() - self._asked_at
                return Answer(f"no answer for {waited_s:.0f} s", is_trouble=True)
            return self._answer

    def _run(self) -> None:
        try:
            try:
                answer = Answer(self._ask())
            finally:
                connections.close_all()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            answer = Answer(type(error).__name__, is_trouble=True, cause=error)
        with self._changed:
            self._answer, self._answered_at, self._asked_at = answer, time.monotonic(), None
            self._changed.notify_all()
