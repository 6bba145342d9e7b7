"""A clock that a test moves: for lifetimes, tickets, retention, heartbeats and leases."""

from __future__ import annotations

import datetime as moments
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.utils import timezone

# What it replaces, and the number of its units in a second.
UNITS = {"time": 1, "time_ns": 1_000_000_000, "monotonic": 1, "monotonic_ns": 1_000_000_000}


class FakeClock:
    """The machine's clock, and the seconds that a test has added to it."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    @property
    def ahead_s(self) -> float:
        """By how many seconds it is ahead of the machine's clock."""
        return self._ahead_s

    def advance(self, seconds: float) -> None:
        """
        Let seconds pass, at once.

        What becomes due by that is done when it next runs: a StreamClient's stream with its next
        call. Raises ValueError for a negative number: the app's timers never go back.
        """
        if seconds < 0:
            raise ValueError(f"{seconds!r} is negative: time does not go back.")
        self._ahead_s += seconds

    def now(self) -> moments.datetime:
        """Return the time, as timezone.now() does."""
        return timezone.now()


class _IsDatetime(type):
    """Objects of datetime are what isinstance() looks for in Django's module."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, moments.datetime)


@contextmanager
def fake_clock() -> Iterator[FakeClock]:
    """
    Give the process a clock that goes as the machine's does, and can be advanced.

    For Django's timezone.now(), and what calls time.time() or time.monotonic() by these names.
    """
    clock = FakeClock()
    later: dict[str, Any] = {name: _later(name, clock) for name in UNITS}
    of_django = mock.patch.object(timezone, "datetime", _datetime(clock))
    with mock.patch.multiple(time, **later), of_django:
        yield clock


def _later(name: str, clock: FakeClock) -> Callable[[], Any]:
    real, unit = getattr(time, name), UNITS[name]

    def later() -> Any:
        return real() + type(real())(clock.ahead_s * unit)

    return later


def _datetime(clock: FakeClock) -> type:
    # Not timezone.now itself: models have it as a default, by reference.
    class Datetime(moments.datetime, metaclass=_IsDatetime):
        @classmethod
        def now(cls, tz: moments.tzinfo | None = None) -> Any:
            ahead = moments.timedelta(seconds=clock.ahead_s)
            return moments.datetime.now(tz) + ahead

    return Datetime
