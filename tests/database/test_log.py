"""The log: one INSERT, positions by commit, nothing skipped."""

import json
import random
import threading
import time
from contextlib import closing
from datetime import timedelta
from threading import Barrier, Event

import pytest
from django.db import connections, transaction
from django.db.models import F, Max
from django.test.utils import CaptureQueriesContext

from eric_sse_django import log, notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.log.history import make_head
from eric_sse_django.log.protocol import SEGMENT_BYTES, SEGMENT_MESSAGES
from eric_sse_django.log.sequencer import SEQUENCE_BATCH, statements
from eric_sse_django.message import Message
from eric_sse_django.models import LogHead, QueuedMessage
from tests import databases
from tests.contract import count
from tests.database.tools import (
    PATIENCE_S,
    add_listeners,
    atomic,
    entries,
    payloads,
    threads,
)
from tests.server import until

# Seconds that one publisher may be delayed by another's open transaction.
DELAY_S = 0.2

several_writers = databases.on("postgres", "mariadb")


class TestAppend:
    def test_publishing_to_10_000_listeners_is_one_insert(self, database, channel, no_notifier):
        add_listeners(channel, 10_000)
        for publish in (
            lambda: channel.broadcast(count(1)),
            lambda: channel.dispatch_to_owner(7, count(1)),
        ):
            with CaptureQueriesContext(connections[database]) as queries:
                publish()
            [insert] = queries.captured_queries
            assert insert["sql"].startswith("INSERT INTO")

    def test_dispatch_is_one_insert_that_finds_the_listener(
        self, database, channel, listener, no_notifier
    ):
        with CaptureQueriesContext(connections[database]) as queries:
            channel.dispatch(listener.id, count(1))
        assert [query["sql"][:6] for query in queries.captured_queries] == ["INSERT"]

    def test_many_messages_are_fewer_inserts_than_messages(self, database, channel, no_notifier):
        with CaptureQueriesContext(connections[database]) as queries:
            channel.broadcast_many(count(number) for number in range(100))
        inserts = [query for query in queries.captured_queries if "INSERT" in query["sql"]]
        assert len(inserts) <= 3  # SQLite takes 999 parameters at once
        log.sequence()
        assert payloads() == list(range(100))

    def test_a_message_is_inserted_without_a_position(self, database, channel, no_notifier):
        channel.broadcast(count(1))
        assert log.head() == (0, True)
        assert payloads() == []


def is_waiting(using):
    """Return whether a transaction waits for a lock of another."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT EXISTS(SELECT 1 FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


@pytest.mark.usefixtures("no_notifier")
class TestSegments:
    def test_none_is_of_a_transaction_that_could_be_rolled_back(self, database, channel):
        segments = []
        with transaction.atomic(using=database):
            channel.broadcast(count(1))
            assert log.sequence(segments.append) == 1
        assert segments == []

    def test_payloads_that_are_large_together_are_not_in_it(self, database, channel):
        segments = []
        channel.broadcast_many([Message("n", "x" * 4_000)] * 9)
        assert log.sequence(segments.append) == 9
        [segment] = segments
        assert segment.entries is None
        assert segment.channels == {channel.row.pk}
        assert segment.known.position == log.head().position

    def test_a_payload_that_is_large_alone_is_not_in_it(self, database, channel):
        segments = []
        channel.broadcast(Message("n", "x" * (SEGMENT_BYTES + 1)))
        assert log.sequence(segments.append) == 1
        assert segments[0].entries is None

    def test_none_is_of_more_messages_than_a_link_has(self, database, channel):
        segments = []
        channel.broadcast_many(count(number) for number in range(SEGMENT_MESSAGES + 1))
        assert log.sequence(segments.append) == SEGMENT_MESSAGES + 1
        assert segments == []

    @databases.postgres_only
    @pytest.mark.parametrize("over", [0, 1])
    def test_messages_that_are_removed_meanwhile_are_not_in_it(self, database, channel, over):
        channel.broadcast_many(count(number) for number in range(SEGMENT_MESSAGES + over))
        segments = []
        with threads() as others:
            with transaction.atomic(using=database):
                QueuedMessage.objects.order_by("id")[0].delete()
                given = others.start(log.sequence, segments.append)
                while not is_waiting(database):
                    assert not given.done()
                    time.sleep(0.01)
            assert given.result(PATIENCE_S) == SEGMENT_MESSAGES + over - 1
        assert payloads() == [*range(1, SEGMENT_MESSAGES + over)]
        found = [[json.loads(entry.payload) for entry in each.entries] for each in segments]
        assert found == ([] if over else [payloads()])

    def test_it_does_not_follow_a_head_of_another_history(self, database, channel):
        channel.broadcast(count(1))
        log.sequence()
        known = log.follow()
        # A backup was restored, and as many messages were published as it lacked.
        QueuedMessage.objects.update(created_at=F("created_at") + timedelta(seconds=1))
        LogHead.objects.update(marked_at=F("marked_at") + timedelta(seconds=1))
        segments = []
        channel.broadcast(count(2))
        log.sequence(segments.append)
        assert segments[0].before.position == known.position
        assert not log.is_next(segments[0], known)

    @databases.on("postgres")
    def test_a_client_that_reads_nothing_does_not_keep_the_head_locked(self, database, channel):
        """PostgreSQL sends the rows before it commits: with 14 MB it waited for the client."""
        psycopg = pytest.importorskip("psycopg")
        make_head(database)
        log.append([log.draft(channel.row, "n", "x" * 140_000) for _ in range(100)])
        given = statements(database, SEQUENCE_BATCH).at_once_returning
        options = connections[database].get_connection_params()
        names = "host", "port", "user", "password", "dbname"
        with closing(psycopg.connect(**{name: options.get(name) for name in names})) as stalled:
            stalled.pgconn.send_query(given.encode())
            while stalled.pgconn.flush():
                pass
            assert until(lambda: not log.pending().exists(), PATIENCE_S)
            with atomic():
                assert LogHead.objects.select_for_update(nowait=True).get().position


class TestSequence:
    def test_positions_are_unique_and_grow_in_the_order_of_publishing(
        self, database, channel, no_notifier
    ):
        for _ in range(3):
            channel.broadcast_many(count(number) for number in range(5))
            assert log.sequence() == 5
        positions = [entry.position for entry in entries()]
        assert positions == sorted(set(positions))
        assert payloads() == [*range(5)] * 3
        assert log.head() == (positions[-1], False)

    def test_without_pending_messages_it_changes_nothing(
        self, database, django_assert_num_queries
    ):
        # PostgreSQL finds nothing without a head too, and is asked which it was.
        queries = 2 if database == "postgres" else 1
        with django_assert_num_queries(queries, connection=connections[database]):
            assert log.sequence() == 0

    @databases.on("postgres")
    def test_in_one_call_nothing_gets_a_position_without_the_lock(
        self, database, channel, no_notifier
    ):
        channel.broadcast(count(0))
        assert log.sequence() == 1
        channel.broadcast(count(1))
        # As if it had come between the two: there was nothing to lock the head for.
        _, give = statements(database, SEQUENCE_BATCH).at_once.split(";")
        with connections[database].cursor() as cursor:
            cursor.execute(give)
            assert cursor.rowcount == 0
        assert payloads() == [0]
        assert log.sequence() == 1
        assert payloads() == [0, 1]

    def test_a_large_backlog_is_sequenced_in_batches(self, database, channel, no_notifier):
        channel.broadcast_many(count(number) for number in range(SEQUENCE_BATCH + 1))
        assert [log.sequence() for _ in range(3)] == [SEQUENCE_BATCH, 1, 0]
        assert payloads() == list(range(SEQUENCE_BATCH + 1))

    def test_a_row_that_commits_late_is_sequenced_late_and_not_skipped(
        self, database, channel, no_notifier
    ):
        published, may_commit = Event(), Event()

        def late():
            with atomic():
                channel.broadcast(Message("late"))
                published.set()
                assert may_commit.wait(PATIENCE_S)

        # On SQLite nobody else can write meanwhile: there it only commits late.
        alone = connections[database].vendor == "sqlite"
        with threads() as others:
            others.start(late)
            assert published.wait(PATIENCE_S)
            if not alone:
                channel.broadcast(Message("early"))
                log.sequence()
            reached, _ = log.head()
            may_commit.set()
            others.join()
        late_id, newest_id = (
            QueuedMessage.objects.get(type="late").pk,
            QueuedMessage.objects.aggregate(Max("pk"))["pk__max"],
        )
        assert alone or late_id < newest_id
        log.sequence()
        assert [entry.type for entry in entries(after=reached)] == ["late"]

    def test_a_lost_head_is_created_again_after_all_positions(
        self, database, channel, no_notifier
    ):
        channel.broadcast(count(0))
        log.sequence()
        LogHead.objects.all().delete()
        channel.broadcast(count(1))
        assert log.sequence() == 1
        assert payloads() == [0, 1]
        assert LogHead.objects.get().position == entries()[-1].position

    def test_a_lost_head_is_created_by_one_of_many_at_once(self, database, channel, no_notifier):
        for turn in range(5):
            LogHead.objects.all().delete()
            channel.broadcast_many(count(number) for number in range(turn * 10, turn * 10 + 10))
            together = Barrier(4)

            def sequence(together=together):
                together.wait(PATIENCE_S)
                return log.sequence()

            with threads() as others:
                for _ in range(4):
                    others.start(sequence)
                assert sum(others.join()) == 10
        assert payloads() == list(range(50))


class Publisher:
    """Publishes its numbers in transactions of different sizes, some held open a while."""

    MESSAGES = 200
    commits = threading.Semaphore(0)

    def __init__(self, key, channel, holds):
        self.key, self.channel, self.holds = key, channel, holds

    def publish(self):
        chance = random.Random(self.key)
        left = list(range(self.MESSAGES))
        while left:
            size = chance.choice([1, 2, 5, 20])
            now, left = left[:size], left[size:]
            with atomic():
                for number in now:
                    self.channel.broadcast(Message("count", [self.key, number]))
                if self.holds and chance.random() < 0.2:
                    # Until others have committed, or a little while.
                    for _ in range(5):
                        self.commits.acquire(timeout=0.005)
            self.commits.release()


def follow(number):
    """Return the payloads of the first `number` messages, read by position as they come."""
    position, got = 0, []
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < number and time.monotonic() < deadline:
        for entry in entries(position):
            assert entry.position > position
            position = entry.position
            got.append(json.loads(entry.payload))
        time.sleep(0.001)  # the publishers want the interpreter, too
    return got


class TestConcurrency:
    def test_a_reader_that_follows_gets_every_message_once_and_in_order(self, database, channel):
        holds = connections[database].vendor != "sqlite"  # else the others could not write
        publishers = [Publisher(key, channel, holds) for key in range(4)]
        total = len(publishers) * Publisher.MESSAGES
        done = Event()

        def sequence():
            while not done.wait(0.001):
                log.sequence()

        with threads() as others:
            reading = others.start(follow, total)
            others.start(sequence)  # beside the notifier
            for publisher in publishers:
                others.start(publisher.publish)
            try:
                got = reading.result()
            finally:
                done.set()
        assert len(got) == total
        for publisher in publishers:
            # Transactions of one publisher follow each other, so all its numbers must.
            numbers = [number for key, number in got if key == publisher.key]
            assert numbers == list(range(Publisher.MESSAGES))
        assert payloads() == got

    @several_writers
    def test_an_open_transaction_delays_no_other_publisher(self, database, channel):
        published, may_commit = Event(), Event()

        def slow_request():
            with atomic():
                channel.broadcast(Message("slow"))
                published.set()
                assert may_commit.wait(PATIENCE_S)

        listener = channel.add_listener()
        listener.start()
        with threads() as others:
            others.start(slow_request)
            assert published.wait(PATIENCE_S)
            delays = []
            for number in range(20):
                begin = time.monotonic()
                channel.broadcast(count(number))
                assert channel.deliver_next(listener.id).payload == number
                assert notifier.flush(PATIENCE_S)
                delays.append(time.monotonic() - begin)
            # More rows than MariaDB takes as a list: with more it might read, and lock, all.
            channel.broadcast_many(count(number) for number in range(SEQUENCE_BATCH + 200))
            begin = time.monotonic()
            assert notifier.flush(PATIENCE_S)
            in_bulk_s = time.monotonic() - begin
            may_commit.set()
        assert max(delays) < DELAY_S
        assert in_bulk_s < 5 * DELAY_S
        notifier.flush()
        assert entries()[-1].type == "slow"

    @several_writers
    def test_publishing_to_two_channels_in_either_order_never_deadlocks(self, database, channel):
        channels = [channel, DatabaseChannel.create("bills")]
        both = Barrier(2)

        def publish(order):
            for number in range(5):
                with atomic():
                    for each in order:
                        each.broadcast(count(number))
                        both.wait(PATIENCE_S)

        with threads() as others:
            others.start(publish, channels)
            others.start(publish, channels[::-1])
        notifier.flush()
        assert sorted(payloads()) == sorted([*range(5)] * 4)


class TestAnOldSnapshot:
    @databases.mariadb_only
    def test_gives_no_message_a_second_position(self, database, channel, no_notifier):
        channel.broadcast_many([count(1), count(2)])
        with connections[database].cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            with atomic():
                assert log.pending().count() == 2  # the snapshot is of now
                with threads() as others:
                    assert others.start(log.sequence).result(PATIENCE_S) == 2
                before = LogHead.objects.select_for_update().get().position
                assert log.sequence() == 0
            connections[database].close()
            assert [entry.position for entry in entries()] == [before - 1, before]
            assert log.head() == (before, False)
        finally:
            connections[database].close()
