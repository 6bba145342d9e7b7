"""After the commit: positions and wakes, whatever fails."""

import json
import queue
import sys
import threading
import time

import pytest
from django.db import OperationalError, connections

from eric_sse_django import log, notifier, wakes, workers
from eric_sse_django.entry import NO_CHANNEL
from eric_sse_django.log import Draft, MemoryLog
from eric_sse_django.notifier import Notifier
from eric_sse_django.notifier.notifier import EXIT_FLUSH_S, MAX_PASS_REST_S, MAX_TO_PASS_ON
from eric_sse_django.outage import Backoff
from eric_sse_django.workers import Hung
from tests import databases
from tests.contract import count
from tests.database.process import run
from tests.database.tools import entries
from tests.servers import free_port, until

PATIENCE_S = 5.0


class FakeLog:
    """A log that sequences what is pending when it may, and counts how often it was asked."""

    def __init__(self):
        self.pending = 0
        self.passes = 0
        self.failures = 0
        self.trims = 0
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Event()
        self.trimmed = threading.Event()
        self.may_trim = threading.Event()
        self.may_trim.set()

    def sequence(self, pass_on=None):
        self.passes += 1
        self.begun.set()
        self.free.wait(PATIENCE_S)
        if self.failures:
            self.failures -= 1
            raise OperationalError("the database is unavailable")
        found, self.pending = self.pending, 0
        return found

    def trim(self):
        self.trims += 1
        self.trimmed.set()
        self.may_trim.wait(PATIENCE_S)
        raise OperationalError("no permission to delete")


@pytest.fixture
def fake_log():
    return FakeLog()


@pytest.fixture
def lone(fake_log):
    """Return a notifier of the test's own, that works on the fake log."""
    lone = Notifier(fake_log)
    yield lone
    lone.close()


@pytest.fixture
def no_delay(monkeypatch):
    monkeypatch.setattr(Backoff, "next_delay_s", lambda self: 0.001)


class TestRing:
    def test_rings_coalesce(self, lone, fake_log):
        fake_log.free.clear()
        fake_log.pending = 1
        lone.ring()
        assert fake_log.begun.wait(PATIENCE_S)
        for _ in range(1_000):
            lone.ring()
        fake_log.free.set()
        assert lone.flush(PATIENCE_S)
        # The pass under way, and one for the thousand.
        assert fake_log.passes <= 2

    def test_flush_returns_when_all_that_was_rung_for_is_sequenced(self, lone, fake_log):
        for _ in range(500):
            fake_log.pending = 1
            lone.ring()
            assert lone.flush(PATIENCE_S)
            assert fake_log.pending == 0

    def test_flush_returns_false_when_it_took_too_long(self, lone, fake_log):
        fake_log.free.clear()
        fake_log.pending = 1
        lone.ring()
        assert not lone.flush(0.01)
        fake_log.free.set()
        assert lone.flush(PATIENCE_S)

    def test_without_a_ring_flush_returns_at_once(self, lone):
        assert lone.flush(0)

    def test_a_flush_of_a_closed_notifier_does_not_wait(self, lone, fake_log):
        lone.close()
        lone.ring()
        assert not lone.flush(PATIENCE_S)

    def test_hubs_wake_also_when_another_process_sequenced_first(self, lone):
        woken = threading.Event()
        undo = lone.subscribe(lambda link: woken.set())
        lone.ring()  # and nothing is pending
        assert woken.wait(PATIENCE_S)
        undo()
        woken.clear()
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert not woken.is_set()


class TestRests:
    def rests(self, lone, fake_log, monkeypatch, rung_during, rung_before=1, ago_s=1.0):
        """
        Return the rests after passes of some milliseconds.

        `rung_during` is whether each was woken meanwhile, `rung_before` how often since the one
        before, which had begun `ago_s` ago.
        """
        found = []
        for is_rung in rung_during:

            def sequence(pass_on=None, is_rung=is_rung):
                lone._asked += is_rung  # by a publisher that continues
                time.sleep(0.005)
                return 1

            monkeypatch.setattr(fake_log, "sequence", sequence)
            lone._began_at = time.monotonic() - ago_s
            lone._asked = lone._answered + rung_before
            lone._pass()
            found.append(lone._rest_s)
        return found

    def test_a_publisher_that_continues_shares_passes(self, lone, fake_log, monkeypatch):
        rests = self.rests(lone, fake_log, monkeypatch, [True] * 40)
        assert rests == sorted(rests)
        assert rests[-1] == MAX_PASS_REST_S

    def test_after_the_first_of_several_messages_the_pause_is_at_most_a_pass(
        self, lone, fake_log, monkeypatch
    ):
        [rest_s] = self.rests(lone, fake_log, monkeypatch, [True])
        assert 0 < rest_s <= MAX_PASS_REST_S

    def test_without_new_messages_there_is_no_pause(self, lone, fake_log, monkeypatch):
        assert self.rests(lone, fake_log, monkeypatch, [True, True, False, False])[2:] == [0, 0]

    def test_a_publisher_whose_commits_take_longer_than_a_pass_shares_passes_too(
        self, lone, fake_log, monkeypatch
    ):
        rests = self.rests(lone, fake_log, monkeypatch, [False] * 3, rung_before=20, ago_s=0.08)
        assert 0 < rests[0] <= rests[-1] == MAX_PASS_REST_S

    def test_messages_that_come_more_slowly_than_passes_have_one_each(
        self, lone, fake_log, monkeypatch
    ):
        rests = self.rests(lone, fake_log, monkeypatch, [False] * 3, rung_before=4, ago_s=0.2)
        assert rests == [0, 0, 0]

    def test_in_a_flood_nothing_is_passed_on(self, lone, fake_log, monkeypatch):
        wanted, counts = [], [1, log.SEQUENCE_BATCH, 0, log.SEQUENCE_BATCH, 0, 1, 1]

        def sequence(pass_on):
            wanted.append(pass_on is not None)
            return counts.pop(0)

        monkeypatch.setattr(fake_log, "sequence", sequence)
        monkeypatch.setattr(lone, "_plan", lambda: None)
        lone.subscribe(lambda segment: None)
        while counts:
            lone._pass()
        assert wanted == [True, True, False, False, False, False, True]

    def test_a_full_batch_is_followed_by_the_next_at_once(self, lone, fake_log, monkeypatch):
        counts, rings = [log.SEQUENCE_BATCH, log.SEQUENCE_BATCH, 0], []
        monkeypatch.setattr(fake_log, "sequence", lambda pass_on: counts.pop(0))
        monkeypatch.setattr(lone._sender, "wake", lambda *_: rings.append(True))
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert (counts, rings) == ([], [True])  # other processes are woken once


class TestFailures:
    def test_an_unavailable_database_is_logged_once_and_tried_until_it_works(
        self, lone, fake_log, no_delay, caplog
    ):
        fake_log.failures, fake_log.pending = 20, 1
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert fake_log.pending == 0
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        assert "after 20 failures" in caplog.text

    def test_close_does_not_wait_for_the_next_attempt(self, lone, fake_log, monkeypatch):
        failed = threading.Event()
        monkeypatch.setattr(Backoff, "next_delay_s", lambda self: failed.set() or 60)
        fake_log.failures = 1
        lone.ring()
        assert failed.wait(PATIENCE_S)
        began = time.monotonic()
        lone.close()
        assert time.monotonic() - began < EXIT_FLUSH_S

    def test_a_failed_trim_is_repeated_at_its_next_time_and_delays_no_message(
        self, lone, fake_log, caplog
    ):
        lone._trimmer._at = 0  # as after TRIM_INTERVAL_S
        lone.start()
        assert fake_log.trimmed.wait(PATIENCE_S)
        for _ in range(50):
            fake_log.pending = 1
            lone.ring()
            assert lone.flush(PATIENCE_S)
        assert fake_log.trims == 1
        assert fake_log.pending == 0
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    def test_a_long_trim_delays_no_message(self, lone, fake_log):
        fake_log.may_trim.clear()
        lone._trimmer._at = 0
        lone.start()
        assert fake_log.trimmed.wait(PATIENCE_S)
        fake_log.pending = 1
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert fake_log.pending == 0
        fake_log.may_trim.set()

    def test_a_kept_connection_that_failed_is_replaced_without_a_log_line(
        self, lone, fake_log, monkeypatch, caplog
    ):
        # Servers and poolers close what was idle for a while.
        caplog.set_level("INFO")
        lone.ring()
        assert lone.flush(PATIENCE_S)
        woken = []
        monkeypatch.setattr(lone._sender, "wake", lambda *_: woken.append(True))
        fake_log.failures, fake_log.pending = 1, 0
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert caplog.records == []
        # What failed may have been committed: others are woken though nothing was found.
        assert woken == [True]

    @pytest.mark.parametrize("error", [ValueError("a bug"), OperationalError("away")])
    def test_no_exception_ends_the_notifier(self, lone, fake_log, no_delay, monkeypatch, error):
        asked = [error, error, error]

        def sequence(pass_on=None):
            if asked:
                raise asked.pop()
            return FakeLog.sequence(fake_log)

        monkeypatch.setattr(fake_log, "sequence", sequence)

        def fail(link):
            raise RuntimeError("a hub that is broken")

        lone.subscribe(fail)
        fake_log.pending = 1
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert fake_log.pending == 0

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_other_processes_are_woken_after_a_commit_whose_answer_was_lost(
        self, lone, fake_log, no_delay, monkeypatch, is_kept
    ):
        sent = []
        monkeypatch.setattr(lone._sender, "wake", lambda segment=None: sent.append(segment))
        if is_kept:
            lone.ring()
            assert lone.flush(PATIENCE_S)

        def sequence(pass_on=None):
            if found := FakeLog.sequence(fake_log):
                raise OperationalError("the connection broke during COMMIT")
            return found

        monkeypatch.setattr(fake_log, "sequence", sequence)
        fake_log.pending = 3
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert sent == [None]  # without a segment: they read the log

    @databases.on("postgres", "mariadb")
    def test_it_continues_when_its_connection_is_killed(self, database, channel, caplog):
        channel.broadcast(count(1))
        assert notifier.flush(PATIENCE_S)
        kill_other_sessions(database)
        channel.broadcast(count(2))
        assert notifier.flush(PATIENCE_S)
        assert not log.pending().exists()
        assert caplog.records == []

    @databases.on("postgres", "mariadb")
    def test_it_continues_when_the_server_is_available_again(
        self, database, channel, monkeypatch, caplog
    ):
        channel.broadcast(count(1))
        notifier.close()  # the next one opens a new connection, to a closed port
        with monkeypatch.context() as away:
            away.setitem(connections.settings[database], "PORT", str(free_port()))
            channel.broadcast(count(2))
            assert not notifier.flush(0.1)
        assert notifier.flush(PATIENCE_S)
        assert not log.pending().exists()
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def kill_other_sessions(alias):
    """End every session of the test database but this thread's, as an administrator does."""
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            others = "pg_stat_activity WHERE datname = current_database()"
            cursor.execute(
                f"SELECT pg_terminate_backend(pid) FROM {others} AND pid <> pg_backend_pid()"
            )
            assert cursor.rowcount >= 1
        else:
            cursor.execute(
                "SELECT id FROM information_schema.processlist"
                " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            others = [row[0] for row in cursor.fetchall()]
            assert others
            for other in others:
                cursor.execute(f"KILL {other}")


@pytest.mark.live
class TestPassOn:
    @pytest.fixture
    def segment(self):
        memory, given = MemoryLog(), []
        memory.append([Draft(1, 60.0, False, "n", "1")])
        memory.sequence(given.append)
        return given[0]

    @pytest.fixture
    def woken(self, monkeypatch):
        """Return what other processes are woken with."""
        woken = queue.Queue()
        monkeypatch.setattr(wakes.WakeSender, "wake", lambda self, item=None: woken.put(item))
        return woken

    def test_hubs_and_other_processes_get_a_message_that_has_its_position(
        self, lone, fake_log, segment, woken
    ):
        taken = queue.Queue()
        lone.subscribe(taken.put)
        lone.pass_on(segment)
        assert taken.get(timeout=PATIENCE_S) is segment
        assert woken.get(timeout=PATIENCE_S) is segment
        assert fake_log.passes == 0
        assert lone.sequenced == 1

    def test_where_the_fabric_routes_they_get_after_what_it_comes(self, segment, woken):
        routing = Notifier(MemoryLog(), routes=True)
        routing.pass_on(segment)
        assert woken.get(timeout=PATIENCE_S).afters == {
            1: segment.before.position,
            NO_CHANNEL: segment.before.position,
        }
        routing.close()

    def test_what_cannot_be_passed_on_is_read(self, segment, woken, monkeypatch, caplog):
        routing = Notifier(MemoryLog(), routes=True)

        def fail(*_):
            raise OperationalError("the database is unavailable")

        monkeypatch.setattr(routing._window, "place", fail)
        routing.pass_on(segment)
        assert woken.get(timeout=PATIENCE_S) is None
        routing.close()
        assert "cannot be passed on" in caplog.text

    def test_a_flush_waits_until_it_is_passed_on(self, segment, woken, routing_slowly):
        routing, go_on = routing_slowly
        routing.pass_on(segment)
        assert not routing.flush(0.01)
        go_on.set()
        assert routing.flush(PATIENCE_S)
        assert woken.get_nowait() is not None

    def test_of_what_cannot_be_passed_on_soon_only_some_is_kept(
        self, segment, woken, routing_slowly
    ):
        routing, go_on = routing_slowly
        for _ in range(MAX_TO_PASS_ON):
            routing.pass_on(segment)
        assert woken.empty()
        routing.pass_on(segment)
        assert woken.get_nowait() is None
        go_on.set()
        assert routing.flush(PATIENCE_S)
        routing.pass_on(segment)
        assert routing.flush(PATIENCE_S)
        assert woken.qsize() == MAX_TO_PASS_ON + 1

    @pytest.fixture
    def routing_slowly(self, monkeypatch):
        """Return a notifier, and the event for which its thread waits."""
        routing, go_on = Notifier(MemoryLog(), routes=True), threading.Event()
        place = routing._window.place

        def place_later(segment):
            go_on.wait(PATIENCE_S)
            return place(segment)

        monkeypatch.setattr(routing._window, "place", place_later)
        yield routing, go_on
        go_on.set()
        routing.close()

    def test_a_notifier_that_is_closed_wakes_plainly(self, segment, woken):
        routing = Notifier(MemoryLog(), routes=True)
        routing.close()
        routing.pass_on(segment)
        assert woken.get(timeout=PATIENCE_S) is None


class TestFabrics:
    @pytest.mark.parametrize(
        ("fabric", "routes"),
        [
            (None, False),
            ({"BACKEND": "eric_sse_django.wakes.channels.ChannelsFabric"}, False),
            ({"BACKEND": "tests.database.test_notifier.Routing"}, True),
            ({"BACKEND": "no.such.Fabric"}, False),
        ],
    )
    def test_it_knows_whether_the_fabric_routes(self, settings, fabric, routes):
        settings.ERIC_SSE = {"FABRIC": fabric}
        notifier.close()
        assert notifier.current().routes is routes
        notifier.close()


class Routing:
    """A fabric that routes."""

    routes = True

    def __init__(self, location, options):
        pass


class TestProcesses:
    def test_a_process_sequences_all_its_messages_before_it_ends(self, database, channel):
        run("for number in range(20): publish('orders', 'count', number)", database)
        assert not log.pending().exists()
        assert [entry.payload for entry in entries()] == [str(number) for number in range(20)]

    def test_after_a_fork_parent_and_child_each_have_their_own(self, database, channel):
        output = run(
            """
import warnings
from django.db import connections
# Python 3.12 warns of every fork beside a thread; gunicorn and Celery fork all the same.
warnings.simplefilter("ignore", DeprecationWarning)
publish("orders", "count", 0)
assert notifier.flush(5)
connections.close_all()
child = os.fork()
publish("orders", "count", os.getpid())
assert notifier.flush(5)
if child:
    _, status = os.waitpid(child, 0)
    publish("orders", "count", 9)  # its notifier's connection still works
    assert status == 0 and notifier.flush(5)
    print(child, os.getpid())
else:
    connections.close_all()
    os._exit(0)
""",
            database,
        )
        found = entries()
        assert {entry.payload for entry in found} == {"0", "9", *output.split()}
        assert not log.pending().exists()

    @databases.sqlite_only
    def test_a_fork_while_the_layer_is_imported_does_not_stop_wakes_of_the_child(
        self, database, channel, monkeypatch
    ):
        # As gunicorn's master does, when what it preloads publishes.
        layer = {"BACKEND": "tests.live.slow_layer.SlowlyImportedLayer"}
        monkeypatch.setenv("ERIC_SSE_TEST_LAYER", json.dumps(layer))
        run(
            """
import warnings
from django.db import connections
warnings.simplefilter("ignore", DeprecationWarning)
publish("orders", "count", 0)
assert notifier.flush(5)
connections.close_all()
child = os.fork()
publish("orders", "count", 1)
assert notifier.flush(5)
assert notifier.current()._sender.flush(10)  # the wake is sent
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0
else:
    connections.close_all()
    os._exit(0)
""",
            database,
        )


def test_a_notifier_at_rest_or_at_work_is_in_no_trouble(lone, fake_log):
    assert lone.trouble() is None
    fake_log.pending = 3
    lone.ring()
    assert lone.flush(PATIENCE_S)
    assert lone.trouble() is None
    assert (lone.sequenced, sum(lone.delays.counts)) == (3, 1)


def test_a_query_that_hangs_is_trouble_until_it_returns(lone, fake_log, monkeypatch):
    monkeypatch.setattr(sys.modules["eric_sse_django.notifier.notifier"], "STUCK_S", 0.0)
    fake_log.free.clear()
    lone.ring()
    assert fake_log.begun.wait(PATIENCE_S)
    assert lone.trouble() == "nothing has been sequenced for 0 s"
    fake_log.free.set()
    assert lone.flush(PATIENCE_S)
    assert lone.trouble() is None


def test_failing_to_sequence_is_trouble_until_it_works(lone, fake_log, no_delay, monkeypatch):
    seen = []
    asked = fake_log.sequence
    fake_log.failures = 2

    def sequence(pass_on=None):
        seen.append(lone.trouble())
        return asked()

    monkeypatch.setattr(fake_log, "sequence", sequence)
    lone.ring()
    assert lone.flush(PATIENCE_S)
    assert seen[:3] == [None, "sequencing has failed for 0 s", "sequencing has failed for 0 s"]
    assert lone.trouble() is None


class TestHanging:
    """A pass that does not return is left alone, and another does its work."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch):
        monkeypatch.setattr(sys.modules["eric_sse_django.notifier.notifier"], "STUCK_S", 0.05)
        monkeypatch.setattr(sys.modules["eric_sse_django.notifier.notifier"], "WATCH_S", 0.01)

    @pytest.fixture
    def hanging(self, fake_log, monkeypatch):
        """Make the first pass hang until the event is set; others succeed."""
        released, hung = threading.Event(), []

        def sequence(pass_on=None):
            if not hung:
                hung.append(threading.current_thread())
                assert released.wait(PATIENCE_S)
                return 7
            return FakeLog.sequence(fake_log)

        monkeypatch.setattr(fake_log, "sequence", sequence)
        released.thread = lambda: hung[0]
        yield released
        released.set()

    def test_another_thread_does_the_work_of_a_pass_that_hangs(
        self, lone, fake_log, hanging, caplog
    ):
        fake_log.pending = 1
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert fake_log.pending == 0
        assert lone.replaced == {"eric-sse-notifier": 1}
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "a call has hung" in caplog.text
        assert lone.trouble() is None

    def test_work_that_no_thread_could_start_for_is_done_later(self, lone, fake_log, monkeypatch):
        """Nobody rings again: the process has published its last message for a while."""
        submit, refused = lone._workers.submit, []

        def refuses(*args):
            if len(refused) < 3:
                refused.append(args)
                raise Hung("no thread can be started")
            return submit(*args)

        monkeypatch.setattr(lone._workers, "submit", refuses)
        fake_log.pending = 1
        lone.ring()
        assert lone.flush(PATIENCE_S)
        assert fake_log.pending == 0
        assert lone.trouble() is None

    def test_a_pass_that_returns_late_wakes_and_closes_its_connection(
        self, lone, fake_log, hanging, monkeypatch
    ):
        lone.ring()
        assert lone.flush(PATIENCE_S)
        closed, woken = [], threading.Event()
        monkeypatch.setattr(
            workers, "disconnect", lambda: closed.append(threading.current_thread())
        )
        undo = lone.subscribe(lambda link: woken.set())
        hanging.set()
        assert woken.wait(PATIENCE_S)
        hanging.thread().join(PATIENCE_S)
        assert hanging.thread() in closed
        assert lone.sequenced == 7
        undo()

    def test_while_all_passes_hang_it_is_in_trouble(self, lone, fake_log, monkeypatch):
        fake_log.free.clear()
        lone.ring()
        assert until(lambda: lone.replaced["eric-sse-notifier"] >= 2, PATIENCE_S)
        assert lone.trouble().startswith("nothing has been sequenced")
        fake_log.free.set()
        assert lone.flush(PATIENCE_S)
        assert lone.trouble() is None
