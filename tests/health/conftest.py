"""Fixtures of the health tests: a process whose parts can be broken one by one."""

import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from eric_sse_django.health import parts
from tests.streams.conftest import site

__all__ = ["site"]


class Parts:
    """A fake database and layer; fail() makes one fail, and clearing `free` makes both hang."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.checked = {"database": 0, "layer": 0}
        self.free = threading.Event()
        self.free.set()

    def check(self, name: str) -> str:
        self.checked[name] += 1
        self.free.wait(10)
        if name in self.failures:
            raise self.failures[name]
        return "answers"

    def fail(self, name: str) -> None:
        self.failures[name] = OperationalError("could not connect to server db.internal")


@pytest.fixture
def fake_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """Replace the database and the layer by a Parts, and return it; no result is kept."""
    fake = Parts()
    probes = {
        "database": parts.Probe(lambda: fake.check("database")),
        "layer": parts.Probe(lambda: fake.check("layer")),
    }
    monkeypatch.setattr(parts, "_probes", probes)
    monkeypatch.setattr(parts, "_failing", set())
    monkeypatch.setattr(parts, "FRESH_S", 0.0)
    yield fake
    fake.free.set()


@pytest.fixture
def no_kept_results(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check the real parts at each call, and remember nothing from other tests."""
    parts._forget_after_fork()
    monkeypatch.setattr(parts, "FRESH_S", 0.0)
    yield
    parts._forget_after_fork()
