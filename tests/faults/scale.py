"""How large the fault tests are: small in CI, as large as promised when asked."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

# ERIC_SSE_FAULTS=full pytest tests/live/… repeats what docs/reliability.md tells of.
FULL = os.environ.get("ERIC_SSE_FAULTS") == "full"


# Seconds of a test that repeats a fault many times, or builds and installs.
LONG_S = 7_200 if FULL else 600


def sized(small: T, full: T) -> T:
    """Return `small`, or `full` where ERIC_SSE_FAULTS=full asks for it."""
    return full if FULL else small
