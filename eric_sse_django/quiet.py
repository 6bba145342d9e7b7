"""A case that occurs with each request while it lasts is logged once."""

from __future__ import annotations

import time

# Seconds without a case after which the next one is logged again: twice the longest delay
# before a refused client reconnects, so that one such client is not logged each time.
QUIET_S = 120.0
# Kinds that are remembered: names of settings and exceptions, not of clients.
MAX_KINDS = 100


class Quiet:
    """Records when each kind of case last occurred."""

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
