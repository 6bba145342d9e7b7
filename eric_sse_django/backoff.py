"""How long to leave alone what has just failed."""

from __future__ import annotations

import random

# Seconds before the second try; doubled at each further failure. Short enough that a
# person does not notice a database that was restarted.
FIRST_DELAY_S = 0.25

# Seconds no try is put off longer than: what is back is noticed within half a minute.
LAST_DELAY_S = 30.0


class Backoff:
    """Counts failures in a row and says how long to wait after each."""

    def __init__(self, last_delay_s: float = LAST_DELAY_S) -> None:
        self._last_delay_s = last_delay_s
        self._bound_s = FIRST_DELAY_S

    def reset(self) -> None:
        """Note a success: the next failure counts as the first."""
        self._bound_s = FIRST_DELAY_S

    def next_delay_s(self) -> float:
        """
        Note a failure, return the seconds to wait before the next try.

        At random between half the bound and the bound, so that the streams of a database
        that went away do not all come back at one moment.
        """
        bound_s = self._bound_s
        self._bound_s = min(self._last_delay_s, 2 * bound_s)
        return random.uniform(bound_s / 2, bound_s)
