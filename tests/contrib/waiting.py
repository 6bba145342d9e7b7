"""Waiting for what another process does."""

import time
from collections.abc import Callable

from tests.patience import PATIENCE_S


def until(condition: Callable[[], bool], lives: Callable[[], bool] = lambda: True) -> None:
    """Return once a condition is true; fail after PATIENCE_S, or once it no longer `lives()`."""
    ends_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert lives(), "the process has ended"
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.02)
