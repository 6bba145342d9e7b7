"""Deliveries a second, from what server processes have counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

# Seconds between two renewals of a process that delivers; after more than QUIET_S without
# one, it delivers nothing.
RENEWAL_S = 1.0
QUIET_S = 2.5


@dataclass(frozen=True)
class Count:
    """What a process had delivered when it last wrote."""

    started_at: datetime
    renewed_at: datetime
    delivered: int


@dataclass(frozen=True)
class _Seen:
    count: Count
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

    def update(self, key: int, count: Count, now: float) -> float:
        """Return a process's deliveries a second at time.monotonic() `now`."""
        seen = self._seen.get(key)
        if seen is not None and seen.count == count:
            return seen.per_s if now - seen.at <= QUIET_S else 0.0
        per_s = _rate(_first(count) if seen is None else seen.count, count)
        self._seen[key] = _Seen(count, now, per_s)
        return per_s


def _first(count: Count) -> Count:
    """Return what to compare a first count with: itself, or nothing if the process is young."""
    age_s = (count.renewed_at - count.started_at).total_seconds()
    return Count(count.started_at, count.started_at, 0) if age_s <= QUIET_S else count


def _rate(before: Count, after: Count) -> float:
    passed = (after.renewed_at - before.renewed_at).total_seconds()
    if not RENEWAL_S / 2 <= passed <= QUIET_S:
        passed = RENEWAL_S
    return max(0, after.delivered - before.delivered) / passed
