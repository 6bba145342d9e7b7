"""Taking messages: each once, by whoever comes first, and only one's own."""

import sys
import time
from itertools import chain
from threading import Event

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connections

from eric_sse_django import log, notifier
from eric_sse_django.database import DatabaseChannel, DatabaseQueue
from eric_sse_django.exception import (
    InvalidListenerException,
    NoMessagesException,
    RepositoryError,
)
from eric_sse_django.message import Message, SignedMessage, UniqueMessage
from eric_sse_django.models import Listener
from tests import databases
from tests.contract import count
from tests.database.process import run
from tests.database.tools import PATIENCE_S, atomic, roll_back, threads

several_writers = databases.on("postgres", "mariadb")


def take_all(channel, listener):
    """Return the payloads of all that waits for a listener."""
    taken = []
    while True:
        try:
            taken.append(channel.deliver_next(listener.id).payload)
        except NoMessagesException:
            return taken


def queue_of(listener):
    return DatabaseQueue(listener.row)


class TestOnce:
    def test_threads_that_pop_one_queue_get_each_message_once(self, channel, listener):
        channel.broadcast_many(count(number) for number in range(60))

        def pop():
            queue, taken = queue_of(listener), []
            while True:
                try:
                    taken.append(queue.pop().payload)
                except NoMessagesException:
                    return taken

        with threads() as others:
            for _ in range(4):
                others.start(pop)
            taken = others.join()
        assert sorted(chain(*taken)) == list(range(60))
        assert all(part == sorted(part) for part in taken)

    @several_writers
    def test_a_pop_waits_for_another_that_may_be_rolled_back(self, database, channel, listener):
        channel.broadcast(count(1))
        channel.broadcast(count(2))
        assert notifier.flush()
        popped, may_end = Event(), Event()

        def pop():
            queue_of(listener).pop()
            popped.set()
            assert may_end.wait(PATIENCE_S)

        with threads() as others:
            others.start(roll_back, pop)
            assert popped.wait(PATIENCE_S)
            other = others.start(take_all, channel, listener)
            may_end.set()
            assert other.result(PATIENCE_S) == [1, 2]

    @databases.mariadb_only
    def test_a_pop_at_repeatable_read_does_not_loop_forever(self, database, channel, listener):
        channel.broadcast_many([count(1), count(2)])
        assert notifier.flush()
        with connections[database].cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            with atomic():
                assert Listener.objects.get().cursor == 0  # the snapshot is of now
                with threads() as others:
                    others.start(queue_of(listener).pop)
                assert queue_of(listener).pop().payload == 2
        finally:
            connections[database].close()

    def test_a_control_message_is_skipped_and_not_counted(self, channel, listener):
        channel.broadcast(count(1))
        listener.stop()
        listener.start()
        channel.broadcast(count(2))
        assert notifier.flush()
        assert len(queue_of(listener)) == 2
        assert take_all(channel, listener) == [1, 2]
        assert len(queue_of(listener)) == 0


class TestWhose:
    def test_a_listener_does_not_get_earlier_messages(self, channel):
        channel.broadcast(count(1))
        listener = channel.add_listener()
        listener.start()
        channel.broadcast(count(2))
        assert take_all(channel, listener) == [2]

    def test_a_listener_does_not_get_messages_committed_just_before_its_transaction(self, channel):
        for number in range(10):
            channel.broadcast(count(number))
            with atomic():
                listener = channel.add_listener()
                listener.start()
            assert take_all(channel, listener) == []

    @several_writers
    def test_it_gets_what_commits_after_its_start(self, database, channel):
        published, may_commit = Event(), Event()

        def publish():
            with atomic():
                channel.broadcast(count(1))
                published.set()
                assert may_commit.wait(PATIENCE_S)

        with threads() as others:
            others.start(publish)
            assert published.wait(PATIENCE_S)
            listener = channel.add_listener()
            listener.start()
            may_commit.set()
        assert take_all(channel, listener) == [1]

    def test_an_owners_message_reaches_all_that_are_the_owners_by_then(self, channel):
        ana, bob = (User.objects.create(username=name) for name in ("ana", "bob"))
        owners = {"phone": ana, "laptop": ana, "till": bob, "screen": None}
        listeners = {name: channel.add_listener(owner, name) for name, owner in owners.items()}
        channel.dispatch_to_owner(ana, count(1))
        listeners["late"] = channel.add_listener(ana, "late")
        channel.dispatch_to_owner(ana, count(2))
        for listener in listeners.values():
            listener.start()
        assert {name: take_all(channel, each) for name, each in listeners.items()} == {
            "phone": [1, 2],
            "laptop": [1, 2],
            "late": [2],
            "till": [],
            "screen": [],
        }

    def test_messages_of_all_addresses_are_in_one_order(self, channel):
        ana = User.objects.create(username="ana")
        listener = channel.add_listener(ana)
        listener.start()
        for number in range(0, 12, 3):
            channel.broadcast(count(number))
            channel.dispatch_to_owner(ana, count(number + 1))
            channel.dispatch(listener.id, count(number + 2))
        assert take_all(channel, listener) == list(range(12))

    def test_a_message_published_during_a_read_is_not_skipped(self, database, channel, listener):
        published = []

        def publish():
            channel.broadcast(count(1))
            channel.dispatch(listener.id, count(2))
            log.sequence()

        def after_the_first_look(execute, sql, *rest):
            result = execute(sql, *rest)
            if not published and "payload" in sql:
                published.append(sql)
                with threads() as others:
                    others.start(publish)
            return result

        with connections[database].execute_wrapper(after_the_first_look):
            assert take_all(channel, listener) == [1, 2]
        assert published

    def test_messages_of_another_channel_are_not_delivered(self, channel, listener):
        DatabaseChannel.create("bills").broadcast(count(1))
        channel.broadcast(count(2))
        assert take_all(channel, listener) == [2]

    def test_a_removed_listener_has_no_queue(self, channel, listener):
        queue = queue_of(listener)
        channel.remove_listener(listener.id)
        with pytest.raises(InvalidListenerException, match=listener.id):
            queue.pop()


class TestMessages:
    @pytest.mark.parametrize(
        "message",
        [
            Message("kind", 7),
            SignedMessage("till-9", "kind", {"a": 1}),
            UniqueMessage(Message("kind", [1]), "till-9", "m-1"),
            UniqueMessage(SignedMessage("till-9", "kind")),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_signed_and_unique_messages_are_popped_as_such(self, channel, listener, message):
        queue_of(listener).push(message)
        popped = queue_of(listener).pop()
        assert type(popped) is type(message)
        for attribute in ("type", "payload", "sender_id", "id"):
            assert getattr(popped, attribute, None) == getattr(message, attribute, None)

    def test_a_database_failure_raises_the_contracts_error(self, channel, listener, monkeypatch):
        def fail(*args, **kwargs):
            raise OperationalError("unavailable")

        monkeypatch.setattr(log, "read", fail)
        monkeypatch.setattr(log, "append_one", fail)
        with pytest.raises(RepositoryError, match="unavailable"):
            queue_of(listener).pop()
        with pytest.raises(RepositoryError, match="unavailable"):
            queue_of(listener).push(count(1))


class TestLocks:
    @several_writers
    def test_a_transaction_that_published_nothing_never_locks_the_head(
        self, database, channel, listener, monkeypatch
    ):
        # As long as a busy machine needs.
        monkeypatch.setattr(sys.modules["eric_sse_django.notifier.notifier"], "SETTLE_S", 5.0)
        other = channel.add_listener()
        with atomic():
            with pytest.raises(NoMessagesException):
                queue_of(other).pop()
            with threads() as others:
                others.start(channel.broadcast, count(1))
            queue_of(other).pop()  # finds it by waiting for the notifier
            with threads() as others:
                others.start(channel.broadcast, count(2))
                begin = time.monotonic()
                others.join()
                assert notifier.flush()
            assert time.monotonic() - begin < 1
        assert take_all(channel, listener) == [1, 2]

    @several_writers
    def test_it_waits_for_the_notifier_for_a_short_time_only(
        self, database, channel, listener, monkeypatch
    ):
        monkeypatch.setattr(notifier.Notifier, "_plan", lambda self: None)
        channel.broadcast(count(1))
        begin = time.monotonic()
        with atomic(), pytest.raises(NoMessagesException):
            queue_of(listener).pop()
        assert time.monotonic() - begin < 2
        assert queue_of(listener).pop().payload == 1


@pytest.mark.live
class TestProcesses:
    def test_another_process_uses_at_once_what_one_process_created(self, database, channel):
        run(
            """
channel = DatabaseChannel.load("orders")
channel.add_listener(listener_id="till-8").start()
DatabaseChannel.create("bills").add_listener(listener_id="clerk").start()
channel.dispatch("till-8", Message("job", 1))
""",
            database,
        )
        assert channel.get_listener("till-8").is_running()
        assert channel.deliver_next("till-8").payload == 1
        bills = DatabaseChannel.load("bills")
        bills.broadcast(count(2))
        assert bills.deliver_next("clerk").payload == 2
