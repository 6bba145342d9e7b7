"""A question to what may be dead is bounded, shared, and asked once at a time."""

import os
import threading
import time

import pytest

from eric_sse_django.health.probe import Probe

PATIENCE_S = 10.0


class Asked:
    """What a probe asks: counts, and answers once it is free."""

    def __init__(self):
        self.count = 0
        self.free = threading.Event()

    def __call__(self):
        self.count += 1
        self.free.wait(PATIENCE_S)
        return f"answer {self.count}"


@pytest.fixture
def asked():
    asked = Asked()
    yield asked
    asked.free.set()


@pytest.fixture
def probe(asked):
    return Probe(asked)


def test_an_answer_is_given(probe, asked):
    asked.free.set()
    probe.begin()
    answer = probe.answer(PATIENCE_S)
    assert (answer.says, answer.is_trouble) == ("answer 1", False)


def test_an_exception_is_an_answer_by_its_type_alone(asked):
    def ask():
        raise ConnectionError("postgresql://admin:secret@db.internal refused")

    probe = Probe(ask)
    probe.begin()
    answer = probe.answer(PATIENCE_S)
    assert (answer.says, answer.is_trouble) == ("ConnectionError", True)


def test_what_hangs_is_no_answer_after_the_bound(probe):
    began = time.monotonic()
    probe.begin()
    answer = probe.answer(0.05)
    assert answer.is_trouble
    assert answer.says == "no answer for 0 s"
    assert time.monotonic() - began < 5


def test_what_hangs_is_asked_by_one_thread_and_keeps_nobody_else_waiting(probe, asked):
    probe.begin()
    probe.answer(0.05)
    began = time.monotonic()
    for _ in range(100):
        probe.begin()
        assert probe.answer(0.05).is_trouble
    assert time.monotonic() - began < 4  # 100 waits would take 5 s
    assert asked.count == 1


def test_what_answers_late_is_asked_again(probe, asked, monkeypatch):
    monkeypatch.setattr("eric_sse_django.health.probe.FRESH_S", 0.0)
    probe.begin()
    assert probe.answer(0.01).is_trouble
    asked.free.set()
    assert probe.answer(PATIENCE_S).says == "answer 1"
    probe.begin()
    assert probe.answer(PATIENCE_S).says == "answer 2"


def test_a_fresh_answer_is_given_again(probe, asked, monkeypatch):
    monkeypatch.setattr("eric_sse_django.health.probe.FRESH_S", 3600.0)
    asked.free.set()
    for _ in range(50):
        probe.begin()
        probe.answer(PATIENCE_S)
    assert asked.count == 1


def test_a_child_process_asks_for_itself(probe, asked):
    probe.begin()  # hangs, on a thread that the child has not
    child = os.fork()
    if child == 0:
        asked.free.set()
        probe.reset()
        probe.begin()
        os._exit(int(probe.answer(PATIENCE_S).is_trouble))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
