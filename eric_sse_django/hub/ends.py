"""Why a stream ends, and what follows: its log level, and when its client reconnects."""

from __future__ import annotations

import logging
import random
from enum import Enum

from eric_sse_django import conf


class Wait(Enum):
    """How long a client waits before it reconnects: at random, but for USUAL."""

    USUAL = "RETRY_MS"
    SOON = "less than RETRY_MS"
    SPREAD = "up to DRAIN_S"
    LONG = "at least RETRY_MS, and as long as what failed may still fail"


class End(str, Enum):
    """
    Why a stream ends; its text is in the log, in the metric's label and in `StreamEnded`.

    `resumes` is true if a reader in Python opens another stream: over HTTP the client does so.
    """

    wait: Wait
    level: int
    resumes: bool

    CLIENT_LEFT = "client left"
    AGE = "age", Wait.SOON
    DRAINING = "draining", Wait.SPREAD
    HUB_CLOSED = "hub closed", Wait.USUAL, logging.INFO, True
    SEND_TIMEOUT = "send timeout", Wait.USUAL, logging.WARNING
    STOPPED = "stopped", Wait.SOON
    DISCONNECTED = "disconnected", Wait.SOON, logging.INFO, True
    REVOKED = "revoked", Wait.SOON
    HISTORY = "history", Wait.SOON, logging.INFO, True
    DATABASE_UNAVAILABLE = "database unavailable", Wait.LONG, logging.INFO, True
    ERROR = "error", Wait.LONG
    CLOSED = "closed"
    NOT_ALLOWED = "not allowed"  # of a monitor page

    def __new__(
        cls,
        text: str,
        wait: Wait = Wait.USUAL,
        level: int = logging.INFO,
        resumes: bool = False,
    ) -> End:
        end = str.__new__(cls, text)
        end._value_ = text
        end.wait, end.level, end.resumes = wait, level, resumes
        return end

    def __str__(self) -> str:
        return str(self.value)

    def retry_ms(self, rest_s: float = 0.0) -> int:
        """Return the milliseconds for the last `retry:`; what failed may fail for `rest_s` yet."""
        retry_ms: int = conf.get("RETRY_MS")
        if self.wait is Wait.SPREAD:
            return 1_000 + int(random.random() * 1_000 * conf.get("DRAIN_S"))
        if self.wait is Wait.LONG:
            return int(max(retry_ms, rest_s * 1_000) * random.uniform(1, 1.5))
        if self.wait is Wait.SOON:
            return int(retry_ms * random.uniform(0.1, 1))
        return retry_ms
