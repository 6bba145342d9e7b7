"""Workers of the tests share no port, and a test that runs alone does."""

import threading
from types import SimpleNamespace

import pytest

from tests import parallel, server

PATIENCE_S = 10


def test_workers_have_different_ports(monkeypatch):
    ports = []
    for worker in range(parallel.MAX_WORKERS):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{worker}")
        ports += parallel.ports(12_000, 12_100)
    assert sorted(ports) == list(range(12_000, 12_100))


def test_a_port_that_was_given_lately_is_not_given_again(monkeypatch):
    first, other = server.free_port(), server.free_port()
    drawn = iter([first, other, first, 12_001])
    monkeypatch.setattr(server.random, "choice", lambda ports: next(drawn))
    monkeypatch.setattr(server, "is_free", lambda port: True)
    assert server.free_port() == 12_001


def test_live_files_come_first_and_the_longest_before_them():
    def item(name, live):
        return SimpleNamespace(
            path=SimpleNamespace(stem=name), get_closest_marker=lambda mark: live or None
        )

    fast, live, longest = item("test_log", 0), item("test_x", 1), item(parallel.LONGEST[1], 1)
    assert parallel.in_order([fast, live, longest, fast]) == [longest, live, fast, fast]


@pytest.mark.parametrize("alone", [True, False])
def test_a_test_that_runs_alone_waits_for_the_others(tmp_path, alone):
    other_runs, other_ends = threading.Event(), threading.Event()
    running = threading.Event()

    def other():
        with parallel.turn(tmp_path, alone=False):
            other_runs.set()
            other_ends.wait(PATIENCE_S)

    def this():
        other_runs.wait(PATIENCE_S)
        with parallel.turn(tmp_path, alone):
            running.set()

    threads = [threading.Thread(target=each) for each in (other, this)]
    for thread in threads:
        thread.start()
    other_runs.wait(PATIENCE_S)
    if not alone:
        assert running.wait(PATIENCE_S)
    assert running.is_set() is not alone
    other_ends.set()
    assert running.wait(PATIENCE_S)
    for thread in threads:
        thread.join(PATIENCE_S)
