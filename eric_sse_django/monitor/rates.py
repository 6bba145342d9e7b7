"""Deliveries a second, from what server processes have counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

# Seconds between two renewals of a process that delivers; after more than QUIET_S without
# one, it delivers nothing.
RENEWAL_S = 1.0
QUIET_S = 2.5


@dataclass(frozen=True)
class _Seen:
    renewed_at: datetime
    delivered: int
    at: float
    per_s: float


class Rates:
    """
    The rate of each process, from the two counts that it wrote last.

    By their own times, for between two snapshots lie none, one or two of them. A process
    that delivers nothing writes seldom: what it then has delivered, it did just now.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def update(self, key: int, renewed_at: datetime, delivered: int, now: float) -> float:
        """Return a process's deliveries a second at time.monotonic() `now`, 0.0 at first."""
        before = self._seen.get(key)
        if before is None:
            self._seen[key] = _Seen(renewed_at, delivered, now, 0.0)
            return 0.0
        if before.renewed_at == renewed_at:
            return before.per_s if now - before.at <= QUIET_S else 0.0
        passed = (renewed_at - before.renewed_at).total_seconds()
        if not 0 < passed <= QUIET_S:
            passed = RENEWAL_S
        per_s = max(0, delivered - before.delivered) / passed
        self._seen[key] = _Seen(renewed_at, delivered, now, per_s)
        return per_s
