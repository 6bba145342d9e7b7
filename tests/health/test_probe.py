"""A check that may hang is bounded, shared, and runs once at a time."""

import os
import threading
import time

import pytest

from eric_sse_django.health.parts import Probe
from tests.patience import PATIENCE_S


class Check:
    """A check that counts its calls, and returns once it is free."""

    def __init__(self):
        self.count = 0
        self.free = threading.Event()

    def __call__(self):
        self.count += 1
        self.free.wait(PATIENCE_S)
        return f"answer {self.count}"


@pytest.fixture
def check():
    check = Check()
    yield check
    check.free.set()


@pytest.fixture
def probe(check):
    return Probe(check)


def test_a_result_is_returned(probe, check):
    check.free.set()
    probe.start()
    result = probe.result(PATIENCE_S)
    assert (result.text, result.failed) == ("answer 1", False)


def test_an_exception_is_a_failure_that_shows_its_type_only():
    def fails():
        raise ConnectionError("postgresql://admin:secret@db.internal refused")

    probe = Probe(fails)
    probe.start()
    result = probe.result(PATIENCE_S)
    assert (result.text, result.failed) == ("ConnectionError", True)


def test_a_check_that_hangs_fails_after_the_timeout(probe):
    began = time.monotonic()
    probe.start()
    result = probe.result(0.05)
    assert result.failed
    assert result.text == "no answer for 0 s"
    assert time.monotonic() - began < 5


def test_a_check_that_hangs_has_one_thread_and_delays_no_other_caller(probe, check):
    probe.start()
    probe.result(0.05)
    began = time.monotonic()
    for _ in range(100):
        probe.start()
        assert probe.result(0.05).failed
    assert time.monotonic() - began < 4  # 100 waits would take 5 s
    assert check.count == 1


def test_a_check_that_was_late_is_repeated(probe, check, monkeypatch):
    monkeypatch.setattr("eric_sse_django.health.parts.FRESH_S", 0.0)
    probe.start()
    assert probe.result(0.01).failed
    check.free.set()
    assert probe.result(PATIENCE_S).text == "answer 1"
    probe.start()
    assert probe.result(PATIENCE_S).text == "answer 2"


def test_a_fresh_result_is_used_again(probe, check, monkeypatch):
    monkeypatch.setattr("eric_sse_django.health.parts.FRESH_S", 3600.0)
    check.free.set()
    for _ in range(50):
        probe.start()
        probe.result(PATIENCE_S)
    assert check.count == 1


def test_a_child_process_runs_its_own_check(probe, check):
    probe.start()  # hangs, on a thread that the child does not have
    child = os.fork()
    if child == 0:
        check.free.set()
        probe.reset()
        probe.start()
        os._exit(int(probe.result(PATIENCE_S).failed))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
