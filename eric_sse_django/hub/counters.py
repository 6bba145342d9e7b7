"""What a hub has done, for those who watch it."""

from __future__ import annotations

from collections import deque

# Delays that percentiles are taken from: the latest, enough for a 99th percentile.
SAMPLES = 1_000


class Counters:
    """Counts deliveries, and keeps the latest delays from publishing to handing out."""

    def __init__(self) -> None:
        self.delivered = 0
        self._delays_s: deque[float] = deque(maxlen=SAMPLES)

    def handed_out(self, delay_s: float) -> None:
        """Note how long one message took from publishing to the streams' buffers."""
        self._delays_s.append(max(0.0, delay_s))

    def delay_ms(self, *fractions: float) -> list[float]:
        """Return percentiles (0.5 is the median) of the latest delays, in ms; 0.0 without any."""
        ordered = sorted(self._delays_s)
        if not ordered:
            return [0.0 for _ in fractions]
        last = len(ordered) - 1
        return [round(ordered[round(last * fraction)] * 1_000, 3) for fraction in fractions]
