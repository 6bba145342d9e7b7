"""
Tests in parallel: what the workers of pytest-xdist (`pytest -n 2`) do not share, and who waits.

Files with live tests come first, those that take longest first of all; else one worker would end
with a long file while the other has nothing left to do. A test marked `alone` measures the machine
or fills it: it runs while no other worker runs a test.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Files in this order before those that are not named: each takes over 20 s.
LONGEST = (
    *("test_going_back", "test_gates", "test_outages", "test_themes", "test_demo"),
    *("test_quick_start", "test_kills", "test_tabs", "test_users_elsewhere"),
    *("test_runs_clients", "test_runs_recipes", "test_demo_runs"),
    *("test_demo_access", "test_runs_frameworks"),
    *("test_browser", "test_hypermedia", "test_demo_pages", "test_pages", "test_frameworks"),
    *("test_monitor", "test_networks", "test_streams", "test_footprint", "test_revocation"),
    *(
        "test_tutorial",
        "test_nats",
        "test_wrapped",
        "test_hostile",
        "test_faults",
        "test_http2",
        "test_forks",
    ),
)
MAX_WORKERS = 16


def number() -> int:
    """Return the number of this worker, from 0 on; 0 too without workers. Children inherit it."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MAX_WORKERS


def ports(first: int, end: int) -> range:
    """
    Return the ports of [first, end) that are this worker's.

    pytest-randomly gives each worker the same random numbers, so each would choose the same.
    """
    return range(first + number(), end, MAX_WORKERS)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with the longest files first, each file's tests as they were."""

    def rank(item: pytest.Item) -> int:
        name = item.path.stem
        if name in LONGEST:
            return LONGEST.index(name)
        return len(LONGEST) if item.get_closest_marker("live") else len(LONGEST) + 1

    return sorted(items, key=rank)


@contextmanager
def turn(directory: Path, alone: bool) -> Iterator[None]:
    """
    Wait until a test may run, and hold the others off if it runs `alone`.

    `directory` is shared by the workers. A test that waits to run alone has the door, so that
    the others' next tests wait behind it.
    """
    with (directory / "door").open("w") as door, (directory / "running").open("w") as running:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
