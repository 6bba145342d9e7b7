"""The benchmarks count losses, ratios and targets correctly, and exit with the right status."""

import contextlib
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from benchmarks import document, report, short
from benchmarks.__main__ import Run
from benchmarks.client import Crowd
from benchmarks.cpu import Cpu, cpu_s
from benchmarks.machine import versions
from benchmarks.payload import payload
from benchmarks.result import Results
from benchmarks.scale import Scale
from benchmarks.subject import BARE, EVENTSTREAM, FULL, JOINING, OURS, SUBJECTS, Subject
from benchmarks.tally import Tally, Wrong
from benchmarks.work import Found, Measure, Rival, Target, Work
from benchmarks.works import WORKS
from benchmarks.works.figures import cpu_per
from tests.patience import PATIENCE_S

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


EVENTS = [f"id: {n}\nevent: tick\ndata: {payload(n, 50)}\n\n" for n in range(5)]


def chunked(*events):
    return "".join(f"{len(event):x}\r\n{event}\r\n" for event in events)


@contextlib.contextmanager
def serving(body, size, coding=""):
    """Serve one stream in pieces of a size; give the port."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coding}\r\n"
    whole = (head + body).encode()

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
        yield listening.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("coding", ["", "Transfer-Encoding: chunked\r\n"])
def test_the_client_counts_messages_however_the_bytes_are_cut(size, coding):
    events = [": ok\n\n", *EVENTS]
    body = chunked(*events) if coding else "".join(events)
    with serving(body, size, coding) as port, Crowd(port, 5, timed=True) as crowd:
        crowd.open(["/"], greets=True)
        crowd.until(5, patience_s=10)
        crowd.until_silent()
        wrong, delays = crowd.wrong(), list(crowd.delays_ns)
    assert wrong == Wrong()
    assert len(delays) == 5
    assert min(delays) > 0


def test_a_repeated_message_does_not_end_the_wait_for_one_that_is_missing():
    body = ": ok\n\n" + "".join([*EVENTS[:2], EVENTS[0], EVENTS[1], *EVENTS])
    with serving(body, 20) as port, Crowd(port, 5) as crowd:
        crowd.open(["/"], greets=True)
        crowd.until(5, patience_s=10)
        wrong = crowd.wrong()
    assert wrong == Wrong(repeated=4)


def test_a_crowd_that_begins_again_expects_the_first_number():
    body = ": ok\n\n" + "".join(EVENTS)
    with serving(body, 1_000) as port, Crowd(port, 7, timed=True) as crowd:
        crowd.open(["/"], greets=True)
        crowd.until(5, patience_s=10)
        assert crowd.expect(3) == Wrong(lost=2)
        assert crowd.wrong() == Wrong(lost=3)
        assert not crowd.delays_ns


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
    text = report.markdown(results, Scale(), {})
    assert "- a rival: could not be installed: no such version" in text


# What docs/benchmarks.md promises of every work ------------------------------------------


def test_what_is_published_has_the_same_number_of_messages_for_every_subject():
    assert not [name for name in vars(Scale()) if "fast" in name]


def test_a_bare_app_that_joins_stands_beside_the_one_that_does_not():
    works = [work for work in WORKS if JOINING in work.names]
    assert {work.name for work in works} >= {"fanout", "fanout-batch", "backlog"}
    assert all(BARE in work.names for work in works)


def test_publishing_is_measured_with_each_commit_on_the_disk_too():
    (work,) = [work for work in WORKS if work.name == "publish"]
    synced = [subject for subject in SUBJECTS if work.suits(subject) and subject.database == FULL]
    assert {subject.name for subject in synced} == {OURS, EVENTSTREAM}
    assert {subject.synchronous for subject in synced} == {"FULL"}


def test_cpu_is_that_of_the_servers_and_of_the_database():
    found = cpu_per("delivery", Cpu(3.0, 1.0), 4)
    assert found == {"µs CPU per delivery": 1e6, "µs CPU per delivery, PostgreSQL's": 0.25e6}
    assert cpu_per("call", Cpu(2.0, 0.0), 2) == {"µs CPU per call": 1e6}


def test_the_time_of_another_process_is_its_own():
    busy = "import time\nwhile time.process_time() < 0.05: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE) as process:
        found = psutil.Process(process.pid)
        deadline = time.monotonic() + PATIENCE_S
        while cpu_s([found]) < 0.05 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 0.05 <= cpu_s([found]) < 10
        process.stdin.close()


def test_the_versions_are_those_of_a_subjects_interpreter():
    assert versions(sys.executable)["django"]


# What is written -------------------------------------------------------------------------


def test_only_the_named_parts_of_a_page_are_replaced():
    page = "a\n<!-- figures: x -->\nold\n<!-- end of figures: x -->\nb\n"
    filled = document.fill(page, {"x": "new"})
    assert filled == "a\n<!-- figures: x -->\n\nnew\n\n<!-- end of figures: x -->\nb\n"
    assert document.fill(filled, {"x": "new"}) == filled
    with pytest.raises(document.NoPlace, match="figures: y"):
        document.fill(page, {"y": "new"})


def test_a_later_run_keeps_the_works_that_it_does_not_run(tmp_path):
    (first, second), subject = WORKS[:2], SUBJECTS[0]
    for work, speed in ((second, 1), (first, 2), (second, 3)):
        run = Run(Scale(), tmp_path)
        run.results.add(work, subject, Found({"deliveries/s": speed}, Wrong(lost=speed)))
        run.save()
    results, *_ = Run(Scale(), tmp_path).whole()
    rows = [row for work in results.works for row in results.rows(work)]
    figures = [(row.work.name, row.figure, row.wrong.lost) for row in rows]
    assert figures == [(first.name, 2, 2), (second.name, 3, 3)]
    assert Run(Scale.quick(5), tmp_path).whole()[0].works == []  # other sizes


def test_the_short_table_has_a_column_for_each_of_this_apps_subjects():
    rival = Rival(EVENTSTREAM, 25, "SQLite")
    measure = Measure("calls/s", Target(2), short="calls/s of {listeners}", rival=rival)
    names = frozenset({BARE, OURS, EVENTSTREAM})
    work = Work("publish", "", (measure,), names, lambda stage: Found({}))
    results = Results()
    for name, database, speed in (
        *((BARE, None, 100), (OURS, "SQLite", 300), (OURS, "PostgreSQL", 150)),
        *((OURS, FULL, 30), (EVENTSTREAM, "SQLite", 10), (EVENTSTREAM, "PostgreSQL", 5)),
    ):
        of = Subject(name, "uvicorn", "package:application", database)
        results.add(work, of, Found({"calls/s": speed}, Wrong(repeated=int(name == EVENTSTREAM))))
    *_, first, beside, synced = short.table(results, Scale()).splitlines()
    rivals = "django-eventstream 10 (1 repeated); django-eventstream, PostgreSQL 5 (1 repeated)"
    ours = "300 (3.00 ×) ✔ |  | 150 (1.50 ×) ✘"
    assert first == f"| calls/s of 1,000 | ≥ 2 × | {ours} | 100 |  | {rivals} |"
    times = "… times django-eventstream's | ≥ 25 × on SQLite | 30.00 ✔ |  | 30.00 |  |  |  |"
    assert beside == f"| {times}"
    assert synced.startswith(
        "| calls/s of 1,000, SQLite with `synchronous=FULL` | ≥ 2 × | 30 (0.30"
    )
