"""Fixtures of the health tests: a process whose parts can be broken one by one."""

import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from eric_sse_django.health import parts, probe
from tests.streams.conftest import site

__all__ = ["site"]


class Parts:
    """What the database and the layer answer; set a failure, or clear `free` to have them hang."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.asked = {"database": 0, "layer": 0}
        self.free = threading.Event()
        self.free.set()

    def ask(self, name: str) -> str:
        self.asked[name] += 1
        self.free.wait(10)
        if name in self.failures:
            raise self.failures[name]
        return "answers"

    def fail(self, name: str) -> None:
        self.failures[name] = OperationalError("could not connect to server db.internal")


@pytest.fixture
def fake_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """Return a Parts in place of the database and the layer; no answer is kept."""
    fake = Parts()
    probes = {
        "database": probe.Probe(lambda: fake.ask("database")),
        "layer": probe.Probe(lambda: fake.ask("layer")),
    }
    monkeypatch.setattr(parts, "_probes", probes)
    monkeypatch.setattr(parts, "_failing", set())
    monkeypatch.setattr(probe, "FRESH_S", 0.0)
    yield fake
    fake.free.set()


@pytest.fixture
def asks_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the real parts asked at each call, and nothing remembered from other tests."""
    parts._forget_after_fork()
    monkeypatch.setattr(probe, "FRESH_S", 0.0)
    yield
    parts._forget_after_fork()
