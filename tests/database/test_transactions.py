"""A message is kept if and only if the transaction that published it commits."""

import asyncio
import sys

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http import HttpResponse
from django.test import Client, TestCase, TransactionTestCase
from django.urls import path

from eric_sse_django import log, notifier
from eric_sse_django.authorization import revoke
from eric_sse_django.database import DatabaseChannel, operations
from eric_sse_django.exception import InvalidMessageFormat, NoMessagesException
from eric_sse_django.message import Message
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import apublish, publish
from tests import databases
from tests.contract import count
from tests.database.tools import PATIENCE_S, atomic, payloads, roll_back, threads


class Failed(Exception):
    """What a view fails with."""


@pytest.fixture
def rings(monkeypatch):
    """Return the list of the notifier's wakes, which have no effect."""
    rung = []
    monkeypatch.setattr(notifier.Notifier, "ring", lambda self: rung.append(1))
    return rung


@pytest.fixture
def seen(database, rings):
    """Return a function that returns what was published and committed."""

    def committed():
        log.sequence()
        return payloads()

    return committed


class TestCommit:
    def test_without_a_transaction_a_message_is_published_at_once(self, channel, seen, rings):
        channel.broadcast(count(1))
        assert rings == [1]
        assert seen() == [1]

    def test_in_a_transaction_a_message_is_published_at_the_commit(self, channel, seen, rings):
        with atomic():
            channel.broadcast(count(1))
            assert rings == []
        assert rings == [1]
        assert seen() == [1]

    def test_a_transaction_rings_once_however_much_it_publishes(self, channel, seen, rings):
        with atomic():
            for number in range(10):
                channel.broadcast(count(number))
        assert rings == [1]
        assert seen() == list(range(10))

    def test_a_rollback_publishes_nothing_and_wakes_nobody(self, channel, seen, rings):
        roll_back(lambda: channel.broadcast(count(1)))
        assert rings == []
        assert not QueuedMessage.objects.exists()
        channel.broadcast(count(2))
        assert seen() == [2]

    def test_a_rolled_back_savepoint_loses_only_its_own(self, channel, seen, rings):
        with atomic():
            channel.broadcast(count(1))
            roll_back(lambda: channel.broadcast(count(2)))
            with atomic():
                channel.broadcast(count(3))
        assert rings == [1]
        assert seen() == [1, 3]

    def test_a_message_after_a_rolled_back_savepoint_still_rings(self, channel, seen, rings):
        with atomic():
            roll_back(lambda: channel.broadcast(count(1)))
            channel.broadcast(count(2))
        assert rings == [1]
        assert seen() == [2]

    def test_only_what_a_savepoint_kept_still_rings(self, channel, seen, rings):
        with atomic():
            with atomic():
                channel.broadcast(count(1))
            roll_back(lambda: None)
        assert rings == [1]
        assert seen() == [1]

    def test_a_listener_stopped_in_a_rolled_back_transaction_runs(self, channel, listener):
        roll_back(listener.stop)
        assert channel.get_listener(listener.id).is_running()

    def test_another_thread_publishes_for_itself(self, channel, seen, rings):
        # Inside a thread, outside the caller's transaction: SQLite lets one write at a time.
        with threads() as others:
            others.start(channel.broadcast, count(1))
        roll_back(lambda: channel.broadcast(count(2)))
        assert rings == [1]
        assert seen() == [1]


class TestBroadcastMany:
    def test_all_or_none(self, channel, seen, rings):
        with pytest.raises(InvalidMessageFormat):
            channel.broadcast_many([count(1), Message("a\nb"), count(3)])
        assert not QueuedMessage.objects.exists()
        assert rings == []

    def test_all_or_none_when_the_database_refuses_one(self, channel, seen, rings):
        rows = [log.row(channel.row, count(number)) for number in range(300)]
        rows[-1].type = None  # behind the first of the batches
        with pytest.raises(Exception, match=r"(?i)null"):
            log.append(rows)
        assert not QueuedMessage.objects.exists()

    def test_in_their_order_from_any_iterable(self, channel, seen, rings):
        channel.broadcast_many(count(number) for number in range(300))
        assert rings == [1]
        assert seen() == list(range(300))

    def test_publishing_no_messages_does_nothing(self, channel, seen, rings):
        channel.broadcast_many([])
        assert rings == []


class TestOwnTransaction:
    """What a transaction publishes gets its position after its commit."""

    @pytest.fixture(autouse=True)
    def patience(self, monkeypatch):
        """Wait for the notifier as long as a busy machine needs."""
        monkeypatch.setattr(sys.modules["eric_sse_django.notifier.notifier"], "SETTLE_S", 5.0)

    def test_it_takes_its_own_messages_after_its_commit(self, channel, listener):
        channel.broadcast(count(0))
        assert notifier.flush(PATIENCE_S)
        with atomic():
            channel.broadcast(count(1))
            channel.dispatch(listener.id, count(2))
            assert channel.deliver_next(listener.id).payload == 0
            with pytest.raises(NoMessagesException):
                channel.deliver_next(listener.id)
        assert [channel.deliver_next(listener.id).payload for _ in range(2)] == [1, 2]

    def test_it_takes_what_was_committed_just_before(self, channel, listener):
        channel.broadcast(count(1))
        with atomic():
            assert channel.deliver_next(listener.id).payload == 1

    def test_a_pop_that_was_rolled_back_keeps_the_message(self, channel, listener):
        channel.broadcast(count(1))
        roll_back(lambda: channel.deliver_next(listener.id))
        assert channel.deliver_next(listener.id).payload == 1

    def test_a_new_listener_gets_all_that_its_transaction_publishes(self, channel):
        channel.broadcast(count(0))
        assert notifier.flush(PATIENCE_S)
        with atomic():
            channel.broadcast(count(1))
            listener = channel.add_listener()
            listener.start()
            channel.broadcast(count(2))
        assert [channel.deliver_next(listener.id).payload for _ in range(2)] == [1, 2]
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)

    def test_a_listener_that_exists_is_found_by_one_query(
        self, channel, listener, database, django_assert_num_queries
    ):
        with atomic():
            channel.broadcast(count(1))
            with django_assert_num_queries(1, connection=connections[database]):
                assert channel.add_listener(listener_id=listener.id).row == listener.row

    @databases.on("postgres", "mariadb")
    def test_a_long_transaction_delays_no_other_whatever_it_calls(self, channel, listener):
        other = DatabaseChannel.create("others")

        def publish_elsewhere():
            for number in range(5):
                other.broadcast(count(number))
            # Committed before, so delivered before.
            assert notifier.flush(PATIENCE_S)
            return payloads()

        with threads() as others, atomic():
            channel.broadcast(count("long"))
            channel.add_listener()
            channel.add_listener(listener_id=listener.id)
            operations.discard([listener.row])
            with pytest.raises(NoMessagesException):
                channel.deliver_next(listener.id)
            listener.stop()
            assert others.start(publish_elsewhere).result(PATIENCE_S) == list(range(5))
        assert notifier.flush(PATIENCE_S)
        assert [found for found in payloads() if found is not None] == [*range(5), "long"]


class TestManualTransactions:
    """As with set_autocommit(False): Django does not report when they end."""

    @pytest.fixture
    def manual(self, database):
        connections[database].set_autocommit(False)
        yield connections[database]
        connections[database].rollback()
        connections[database].set_autocommit(True)

    def test_committed_messages_are_kept(self, channel, manual, seen, rings):
        channel.broadcast(count(1))
        channel.broadcast_many([count(2), count(3)])
        with atomic():
            publish("orders", "count", 4)
        manual.commit()
        manual.set_autocommit(True)
        assert seen() == [1, 2, 3, 4]  # as a poll finds them
        manual.set_autocommit(False)

    def test_rolled_back_messages_do_not_exist(self, channel, manual, seen):
        channel.broadcast(count(1))
        manual.rollback()
        manual.set_autocommit(True)
        assert seen() == []
        manual.set_autocommit(False)

    def test_listening_stopping_taking_and_revoking_work(self, channel, manual):
        user = User.objects.create(username="ana")
        listener = channel.add_listener(user)
        listener.start()
        channel.dispatch_to_owner(user, count(1))
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)
        manual.commit()
        assert channel.deliver_next(listener.id).payload == 1
        listener.stop()
        operations.disconnect([listener.row])
        operations.discard([listener.row])
        revoke(user=user)
        manual.commit()
        assert not channel.get_listener(listener.id).is_running()
        manual.commit()


class TestReadYourOwnWritesInATestCase:
    @databases.rolled_back
    def test_inside_a_test_case(self, channel, listener):
        assert connections[log.database()].in_atomic_block
        publish("orders", "count", 1)
        assert channel.deliver_next(listener.id).payload == 1
        publish("orders", "count", 2, listener_id=listener.id)
        assert channel.deliver_next(listener.id).payload == 2

    @databases.rolled_back
    def test_inside_a_test_case_as_a_view_in_a_transaction_does(self, channel, listener):
        with atomic():
            publish("orders", "count", 1)
        with atomic():
            assert channel.deliver_next(listener.id).payload == 1


def test_a_database_that_a_test_runner_renames_is_known_to_be_in_memory():
    connection = DatabaseWrapper({**connections["default"].settings_dict, "NAME": "a.db"}, "own")
    dialect = log.dialect_of(connection)
    assert not dialect.is_in_memory  # as where a project publishes while it starts
    connection.settings_dict["NAME"] = "file:memorydb_default?mode=memory&cache=shared"
    assert dialect.is_in_memory


class ProjectTests:
    """A project's own tests, in both of Django's ways: with plain SQLite."""

    def setUp(self):
        self.channel = DatabaseChannel.create("orders")
        self.listener = self.channel.add_listener()
        self.listener.start()

    def test_published_messages_can_be_taken(self):
        publish("orders", "paid", 7)
        assert self.channel.deliver_next(self.listener.id).payload == 7
        with atomic():  # as a view with ATOMIC_REQUESTS
            publish("orders", "paid", 8)
            publish("orders", "paid", 9)
        with atomic():
            assert self.channel.deliver_next(self.listener.id).payload == 8
        assert self.channel.deliver_next(self.listener.id).payload == 9


class TestInATestCase(ProjectTests, TestCase):
    def test_callbacks_can_be_captured(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            publish("orders", "paid", 7)
        assert len(callbacks) == 1
        assert self.channel.deliver_next(self.listener.id).payload == 7


class TestInATransactionTestCase(ProjectTests, TransactionTestCase):
    pass


def publish_and_answer(request, status):
    publish("orders", "count", status)
    if status == 500:
        raise Failed
    return HttpResponse(status=status)


async def apublish_and_answer(request):
    await apublish("orders", "count", 202)
    return HttpResponse(status=202)


urlpatterns = [
    path("sync/<int:status>/", publish_and_answer),
    path("async/", apublish_and_answer),
]


class TestViews:
    @pytest.fixture
    def client(self, database, settings, monkeypatch):
        settings.ROOT_URLCONF = __name__
        monkeypatch.setitem(connections[database].settings_dict, "ATOMIC_REQUESTS", True)
        return Client(raise_request_exception=False)

    def test_a_request_that_succeeds_publishes(self, client, channel, seen):
        assert client.get("/sync/201/").status_code == 201
        assert seen() == [201]

    def test_a_request_that_fails_does_not(self, client, channel, seen, rings):
        assert client.get("/sync/500/").status_code == 500
        assert rings == []
        assert seen() == []


class TestAsync:
    async def test_a_coroutine_publishes(self, database, channel, call):
        await apublish("orders", "count", 1)
        await channel.abroadcast(count(2))
        await asyncio.gather(*(channel.abroadcast(count(3)) for _ in range(5)))
        await call(log.sequence)
        assert await call(payloads) == [1, 2, 3, 3, 3, 3, 3]

    async def test_an_async_view_publishes(self, database, channel, call, settings, async_client):
        settings.ROOT_URLCONF = __name__
        assert (await async_client.get("/async/")).status_code == 202
        await call(log.sequence)
        assert await call(payloads) == [202]

    async def test_a_coroutine_cannot_publish_on_its_loops_own_thread(self, database, channel):
        with pytest.raises(Exception, match="async context"):
            channel.broadcast(count(1))
