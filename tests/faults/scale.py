"""The size of the fault tests: small by default, as large as documented on request."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

# ERIC_SSE_FAULTS=full pytest tests/live/… repeats the runs of docs/reliability.md.
FULL = os.environ.get("ERIC_SSE_FAULTS") == "full"


# Time limit in seconds of a test that repeats a fault many times, or builds and installs.
LONG_S = 7_200 if FULL else 600


def sized(small: T, full: T) -> T:
    """Return `small`, or `full` with ERIC_SSE_FAULTS=full."""
    return full if FULL else small
