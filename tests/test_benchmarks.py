"""The benchmarks count losses, ratios and targets correctly, and exit with the right status."""

import contextlib
import socket
import threading

import pytest

from benchmarks import report
from benchmarks.client import Crowd
from benchmarks.payload import payload
from benchmarks.result import Results
from benchmarks.scale import Scale
from benchmarks.subject import BARE, EVENTSTREAM, OURS, Subject
from benchmarks.tally import Tally, Wrong
from benchmarks.work import Found, Measure, Target, Work

SPEED = Measure("deliveries/s", Target(3))
COST = Measure("µs", Target(0.3, at_least=False), digits=1)
WORK = Work("fanout", "Fan-out", (SPEED, COST), frozenset({BARE, OURS}), lambda stage: Found({}))


def numbers(*values):
    return [str(value).encode() for value in values]


def subject(name, server="uvicorn"):
    return Subject(name, server, "package:application")


def found(speed, cost=1.0, **wrong):
    return Found({"deliveries/s": speed, "µs": cost}, Wrong(**wrong))


@pytest.mark.parametrize(
    ("came", "wrong"),
    [
        ([(0, 1), (2, 3)], Wrong()),
        ([(0, 1)], Wrong(lost=2)),
        ([(0, 1, 1, 2, 3)], Wrong(repeated=1)),
        ([(0, 2), (1, 3)], Wrong(disordered=1)),
        ([(0, 2, 3), (0, 1, 2, 3)], Wrong(repeated=3, disordered=1)),
        ([(0, 1, 2, 3, 4)], Wrong(repeated=1)),
        ([(1, 3)], Wrong(lost=2)),
    ],
)
def test_a_tally_counts_what_was_lost_repeated_and_out_of_order(came, wrong):
    tally = Tally(4)
    for some in came:
        tally.add(numbers(*some))
    assert tally.wrong() == wrong


@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_client_counts_messages_however_the_bytes_are_cut(size):
    events = "".join(f"id: {n}\nevent: tick\ndata: {payload(n, 50)}\n\n" for n in range(5))
    whole = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ok\n\n{events}".encode()

    def serve(listening):
        connection, _ = listening.accept()
        connection.recv(65_536)  # a socket closed with bytes unread is reset
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # the client disconnects after the last message
            for start in range(0, len(whole), size):
                connection.sendall(whole[start : start + size])
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        with Crowd(listening.getsockname()[1], 5, timed=True) as crowd:
            crowd.open(["/"], greets=True)
            crowd.until(5, patience_s=10)
            wrong, delays = crowd.wrong(), list(crowd.delays_ns)
        thread.join()
    assert wrong == Wrong()
    assert len(delays) == 5
    assert min(delays) > 0


def test_a_ratio_is_the_median_of_what_each_round_was_beside_the_bare_app_on_its_server():
    results = Results()
    for bare, ours in ((100, 300), (50, 200), (100, 310)):
        results.add(WORK, subject(BARE), found(bare))
        results.add(WORK, subject(BARE, "daphne"), found(1))
        results.add(WORK, subject(OURS), found(ours))
    row = next(row for row in results.rows(WORK) if row.subject.name == OURS)
    assert row.ratios == [3, 4, 3.1]
    assert (row.ratio, row.figure, row.met) == (3.1, 300, True)


def test_the_bare_app_is_not_compared_with_itself():
    results = Results()
    results.add(WORK, subject(BARE), found(100))
    assert [row.ratio for row in results.rows(WORK)] == [None, None]


def test_a_ceiling_may_be_another_figure_of_the_same_run():
    measure = Measure("publishes/s", Target(0.6), ceiling="bare INSERTs/s")
    work = Work("publish", "", (measure,), frozenset({OURS}), lambda stage: Found({}))
    results = Results()
    results.add(work, subject(OURS), Found({"publishes/s": 50, "bare INSERTs/s": 100}))
    (row,) = results.rows(work)
    assert (row.ratio, row.met) == (0.5, False)


def test_a_target_without_a_ceiling_to_compare_with_is_neither_met_nor_missed():
    results = Results()
    results.add(WORK, subject(OURS), found(100))
    assert [row.met for row in results.rows(WORK)] == [None, None]


def test_a_target_counts_for_its_database_only():
    measure = Measure("p50 ms", Target(2, times=False, at_least=False), target_for="SQLite")
    work = Work("single", "", (measure,), frozenset({OURS}), lambda stage: Found({}))
    results = Results()
    for database in ("SQLite", "PostgreSQL"):
        of = Subject(OURS, "uvicorn", "package:application", database)
        results.add(work, of, Found({"p50 ms": 3}))
    assert [row.met for row in results.rows(work)] == [False, None]


def test_a_row_of_the_table_has_figure_span_ratio_target_and_what_was_wrong():
    results = Results()
    for bare, ours in ((1_000, 3_000), (1_000, 5_000)):
        results.add(WORK, subject(BARE), found(bare))
        results.add(WORK, subject(OURS), found(ours, lost=2))
    row = next(row for row in results.rows(WORK) if row.subject.name == OURS)
    expected = "| this app, uvicorn | 4,000 | 3,000–5,000 | 4.00 | ≥ 3 × ✔ | 4 | 0 | 0 |"
    assert report.line(row) == expected


@pytest.mark.parametrize("wrong", ["lost", "repeated", "disordered"])
def test_only_a_failure_of_this_app_fails_the_command(wrong):
    results = Results()
    results.add(WORK, subject(EVENTSTREAM), found(1, **{wrong: 1}))
    assert not results.ours_is_wrong()
    results.add(WORK, subject(OURS), found(1, **{wrong: 1}))
    assert results.ours_is_wrong()


def test_a_skipped_subject_is_in_the_report_with_its_reason():
    results = Results()
    results.skip("a rival", "could not be installed: no such version")
    assert "- a rival: could not be installed: no such version" in report.markdown(
        results, Scale()
    )
