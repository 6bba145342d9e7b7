"""Retention: expired messages are removed, and streams that missed them get a reset."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import RESET
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.log import reader, retention
from eric_sse_django.models import Channel, Listener, QueuedMessage, Revocation
from tests.contract import count
from tests.database.tools import PATIENCE_S, atomic, entries, payloads, threads
from tests.databases import on

pytestmark = pytest.mark.usefixtures("no_notifier")


def sequence():
    while log.sequence():
        pass


def age(*numbers):
    """Take these messages (all, if none is named) past their retention, in their order."""
    rows = QueuedMessage.objects.all()
    if numbers:
        rows = rows.filter(payload__in=[str(number) for number in numbers])
    rows.update(expires_at=F("expires_at") - timedelta(days=30))


def trim():
    """Trim all there is to trim; return how many rows went."""
    removed = 0
    while found := log.trim():
        removed += found
    return removed


def positions():
    """Return the position of each message's payload."""
    return {json.loads(entry.payload): entry.position for entry in entries()}


def read(listener, after=None):
    """Return what a stream of the listener would read."""
    row = Listener.objects.get(pk=listener.row.pk)
    after = row.cursor if after is None else after
    found = log.read([log.Recipient.of(row, after)], None, 1_000)
    return [RESET if entry.type == RESET else json.loads(entry.payload) for entry in found]


def take_all(channel, listener):
    taken = []
    while True:
        try:
            message = channel.deliver_next(listener.id)
        except NoMessagesException:
            return taken
        taken.append(RESET if message.type == RESET else message.payload)


class TestRemoving:
    def test_a_message_removed_during_a_read_is_not_delivered_beside_its_reset(
        self, channel, listener, monkeypatch
    ):
        floor_of = reader.floor_of

        def trimmed_first(*of):
            log.trim()
            return floor_of(*of)

        monkeypatch.setattr(reader, "floor_of", trimmed_first)
        channel.broadcast_many(count(number) for number in range(3))
        sequence()
        age()
        channel.broadcast(count(3))
        sequence()
        assert read(listener) == [0, 1, RESET, 3]

    def test_old_messages_are_removed_in_batches_oldest_first(self, channel, monkeypatch):
        monkeypatch.setattr(retention, "TRIM_BATCH", 4)
        channel.broadcast_many(count(number) for number in range(10))
        sequence()
        age()
        assert log.trim() == 4
        assert payloads() == [4, 5, 6, 7, 8, 9]
        assert [log.trim() for _ in range(3)] == [4, 2, 0]

    def test_a_batch_continues_where_a_full_one_ended(self, channel, database, monkeypatch):
        # PostgreSQL's index would lead it through all that was removed before.
        monkeypatch.setattr(retention, "TRIM_BATCH", 4)
        channel.broadcast_many(count(number) for number in range(10))
        sequence()
        age()
        selects = []
        for _ in range(4):
            with CaptureQueriesContext(connections[database]) as captured:
                log.trim()
            selects.append(captured[0]["sql"])
        assert [">=" in sql for sql in selects] == [False, True, True, False]

    def test_messages_that_a_batch_skipped_are_removed_at_the_end(self, channel, monkeypatch):
        monkeypatch.setattr(retention, "TRIM_BATCH", 4)
        channel.broadcast_many(count(number) for number in range(10))
        sequence()
        age(*range(3, 10))
        assert log.trim() == 4
        age(0, 1, 2)
        age(0, 1, 2)
        assert log.trim() == 3
        assert payloads() == [0, 1, 2]
        assert log.trim() == 3
        assert log.trim() == 0

    def test_newer_messages_stay(self, channel):
        channel.broadcast_many(count(number) for number in range(10))
        sequence()
        age(2, 5)
        assert trim() == 2
        assert payloads() == [0, 1, 3, 4, 6, 7, 8, 9]

    def test_a_row_without_a_position_stays_however_old(self, channel, listener):
        channel.broadcast(count(1))
        age()
        assert trim() == 0
        sequence()
        assert take_all(channel, listener) == [1]

    def test_each_channel_has_its_own_retention(self, database, settings):
        settings.ERIC_SSE = {"RETENTION_S": 3_600}
        DatabaseChannel.create("short", retention_s=60).broadcast(count("short"))
        DatabaseChannel.create("usual").broadcast(count("usual"))
        kept = {
            row.channel.name: (row.expires_at - row.created_at).total_seconds()
            for row in QueuedMessage.objects.select_related("channel")
        }
        assert kept == {"short": 60, "usual": 3_600}

    def test_the_logs_last_trim_removes_the_revocations_that_have_expired(self, channel):
        now = timezone.now()
        for subject, hours in (("old", -1), ("new", 1)):
            expires_at = now + timedelta(hours=hours)
            Revocation.objects.create(subject=subject, revoked_at=now, expires_at=expires_at)
        channel.broadcast_many([count(1), count(2)])
        sequence()
        age(1, 2)
        assert [log.DATABASE.trim(), Revocation.objects.count()] == [2, 2]
        assert log.DATABASE.trim() == 0
        assert Revocation.objects.get().subject == "new"

    def test_nothing_to_remove_is_one_query(self, database, channel, django_assert_num_queries):
        channel.broadcast(count(1))
        sequence()
        with django_assert_num_queries(1, connection=connections[database]):
            assert log.trim() == 0

    def test_processes_that_trim_at_once_do_not_disturb_each_other(self, channel, monkeypatch):
        monkeypatch.setattr(retention, "TRIM_BATCH", 10)
        ana = User.objects.create(username="ana")
        listeners = [channel.add_listener(ana) for _ in range(8)]
        for number in range(5):
            for listener in listeners:
                channel.dispatch(listener.id, count(number))
            channel.dispatch_to_owner(ana, count(number))
            channel.broadcast(count(number))
        sequence()
        last = entries()[-1].position
        age()
        with threads() as others:
            for _ in range(3):
                others.start(trim)
        trim()  # what two have left to each other comes the next time
        assert entries() == []
        assert Channel.objects.get().floor == last
        assert {read(listener) == [RESET] for listener in listeners} == {True}


class TestFloors:
    @pytest.fixture
    def ana(self, database):
        return User.objects.create(username="ana")

    @pytest.fixture
    def listeners(self, channel, ana):
        """Return running listeners by their ids; phone and laptop are Ana's."""
        owners = {"phone": ana, "laptop": ana, "till": None}
        made = {name: channel.add_listener(owner, name) for name, owner in owners.items()}
        for listener in made.values():
            listener.start()
        return made

    def floors(self):
        return dict(Listener.objects.values_list("name", "floor"))

    def test_a_broadcast_raises_its_channels(self, channel, listeners):
        DatabaseChannel.create("bills").broadcast(count(0))
        channel.broadcast_many([count(1), count(2), count(3)])
        sequence()
        at = positions()
        age(1, 2)
        trim()
        assert dict(Channel.objects.values_list("name", "floor")) == {"orders": at[2], "bills": 0}
        assert set(self.floors().values()) == {0}

    def test_a_dispatch_raises_its_listeners_also_if_it_was_served(self, channel, listeners):
        channel.dispatch("phone", count(1))
        channel.dispatch("till", count(2))
        sequence()
        at = positions()
        channel.deliver_next("till")
        age()
        trim()
        assert self.floors() == {"phone": at[1], "laptop": 0, "till": at[2]}
        assert Channel.objects.get().floor == 0

    def test_an_owners_raises_those_of_the_owners_in_that_channel(self, channel, ana, listeners):
        DatabaseChannel.create("bills").add_listener(ana, "other")
        channel.dispatch_to_owner(ana, count(1))
        channel.dispatch("till", count(2))
        sequence()
        at = positions()
        channel.deliver_next("phone")
        age()
        trim()
        assert self.floors() == {"phone": at[1], "laptop": at[1], "till": at[2], "other": 0}

    def test_each_listener_has_its_own_floor(self, channel, ana, listeners, monkeypatch):
        monkeypatch.setattr(retention, "RAISED_AT_ONCE", 2)
        more = [channel.add_listener().id for _ in range(6)]
        for number, name in enumerate([*more, *listeners, *more]):
            channel.dispatch(name, count(number))
        sequence()
        at = positions()
        channel.dispatch_to_owner(ana, count(100))
        age()
        trim()
        wanted = {name: at[number] for number, name in enumerate([*more, *listeners, *more])}
        assert self.floors() == wanted

    def test_raising_many_takes_few_queries(self, database, channel, ana):
        for name in range(60):
            channel.add_listener(ana, f"phone-{name}")
            channel.dispatch(f"phone-{name}", count(name))
        channel.dispatch_to_owner(ana, count(60))
        sequence()
        age()
        with CaptureQueriesContext(connections[database]) as captured:
            assert log.trim() == 61
        found = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
        found = [sql for sql in found if "lock_timeout" not in sql and "lock_wait" not in sql]
        updates = [sql for sql in found if sql.startswith("UPDATE")]
        assert [Listener._meta.db_table in sql for sql in updates] == [True, False]  # the head
        assert len(found) <= 8, found

    @on("postgres", "mariadb")
    def test_a_message_stays_while_its_listener_is_locked_by_others(self, channel, ana, listeners):
        channel.dispatch("phone", count(1))
        channel.dispatch_to_owner(ana, count(2))
        channel.dispatch("till", count(3))
        channel.broadcast(count(4))
        sequence()
        at = positions()
        age()
        with threads() as others, atomic():
            channel.deliver_next("phone")
            assert others.start(log.trim).result(PATIENCE_S) == 2
            assert payloads() == [1, 2]
        assert self.floors() == {"phone": 0, "laptop": 0, "till": at[3]}
        assert trim() == 2
        assert self.floors() == {"phone": at[2], "laptop": at[2], "till": at[3]}

    @on("postgres", "mariadb")
    def test_a_trim_waits_for_no_transaction_that_has_added_a_listener(self, channel, listeners):
        other = DatabaseChannel.create("bills")
        channel.broadcast(count(1))
        other.broadcast(count(2))
        sequence()
        age()
        with threads() as others, atomic():
            channel.add_listener()
            others.start(trim).result(PATIENCE_S)
            # On MariaDB it locks the channel, whose messages stay until the next time.
            assert payloads() in ([], [1])
        trim()
        assert payloads() == []
        assert set(Channel.objects.values_list("floor", flat=True)) == {1, 2}

    @on("postgres", "mariadb")
    def test_a_trim_waits_for_no_transaction_that_has_changed_the_channel(
        self, channel, listeners, monkeypatch
    ):
        monkeypatch.setattr(retention, "TRIM_BATCH", 3)
        other = DatabaseChannel.create("bills")
        for number in range(6):
            channel.broadcast(count(number))
        other.broadcast(count(6))
        sequence()
        age()
        with threads() as others, atomic():
            channel.row.save()
            # Also not where a full batch is behind the lock.
            assert others.start(log.trim).result(PATIENCE_S) == 1
            assert payloads() == list(range(6))
        assert [trim(), payloads()] == [6, []]
        assert Channel.objects.get(name="orders").floor == 6

    @on("postgres", "mariadb")
    def test_a_trim_waits_for_other_locks_with_a_bound(self, channel, database, monkeypatch):
        monkeypatch.setattr(retention, "LOCK_TIMEOUT_S", 1)
        channel.broadcast(count(1))
        sequence()
        age()

        def try_to_trim():
            with pytest.raises(OperationalError):
                log.trim()

        with threads() as others, atomic():
            assert QueuedMessage.objects.select_for_update().get()
            others.start(try_to_trim).result(PATIENCE_S)
        assert trim() == 1

    def test_control_messages_raise_no_floor(self, channel, listeners):
        listeners["till"].stop()
        listeners["till"].start()
        sequence()
        age()
        assert trim() == 1
        assert set(self.floors().values()) == {0}
        assert take_all(channel, listeners["till"]) == []

    def test_a_floor_never_sinks(self, channel, listeners):
        channel.broadcast_many([count(1), count(2)])
        sequence()
        at = positions()
        age(2)
        trim()
        age(1)
        trim()
        assert Channel.objects.get().floor == at[2]


class TestReset:
    def test_a_reset_is_once_in_the_place_of_the_last_loss(self, channel, listener):
        channel.broadcast_many(count(number) for number in range(6))
        sequence()
        at = positions()
        age(0, 1, 3)
        trim()
        found = log.read([log.Recipient(channel.row.pk, listener.row.pk, None, 0)], None, 1_000)
        assert [entry.type for entry in found] == ["count", RESET, "count", "count"]
        assert [entry.position for entry in found] == [at[2], at[3], at[4], at[5]]
        assert json.loads(found[1].payload) == {"after": 0, "floor": at[3]}

    @pytest.mark.parametrize("way", ["to all", "to one", "to its owner"])
    def test_every_address_gets_its_reset(self, channel, database, way):
        ana = User.objects.create(username="ana")
        listener = channel.add_listener(ana)
        listener.start()
        publish = {
            "to all": channel.broadcast,
            "to one": lambda msg: channel.dispatch(listener.id, msg),
            "to its owner": lambda msg: channel.dispatch_to_owner(ana, msg),
        }[way]
        for number in range(3):
            publish(count(number))
        sequence()
        age(0, 1)
        trim()
        assert read(listener) == [RESET, 2]
        assert take_all(channel, listener) == [RESET, 2]
        assert take_all(channel, listener) == []

    def test_pop_returns_the_reset_in_its_place(self, channel, listener):
        channel.broadcast_many(count(number) for number in range(4))
        sequence()
        age(1, 2)
        trim()
        assert take_all(channel, listener) == [0, RESET, 3]

    def test_pop_returns_the_reset_also_when_no_message_is_left(self, channel, listener):
        channel.broadcast(count(1))
        sequence()
        age()
        trim()
        assert take_all(channel, listener) == [RESET]

    def test_a_page_limit_does_not_hide_the_reset(self, channel, listener):
        channel.broadcast_many(count(number) for number in range(6))
        sequence()
        age(3)
        trim()
        reader, got = log.Recipient.of(listener.row, 0), []
        while found := log.read([reader], None, 2):
            reader = reader._replace(after=found[-1].position)
            got += [RESET if entry.type == RESET else json.loads(entry.payload) for entry in found]
        assert got == [0, 1, 2, RESET, 4, 5]

    def test_a_listener_that_has_received_all_gets_no_reset(self, channel, listener):
        channel.broadcast_many(count(number) for number in range(3))
        channel.dispatch(listener.id, count(3))
        sequence()
        assert take_all(channel, listener) == [0, 1, 2, 3]
        age()
        trim()
        assert read(listener) == []
        channel.broadcast(count(4))
        sequence()
        assert take_all(channel, listener) == [4]

    @pytest.mark.parametrize("way", ["to one", "to its owner"])
    def test_a_client_that_reconnects_from_before_a_loss_gets_a_reset(self, channel, way):
        ana = User.objects.create(username="ana")
        listener = channel.add_listener(ana)
        listener.start()
        for number in range(3):
            if way == "to one":
                channel.dispatch(listener.id, count(number))
            else:
                channel.dispatch_to_owner(ana, count(number))
        sequence()
        at = positions()
        assert take_all(channel, listener) == [0, 1, 2]
        age(0, 1)
        trim()
        assert read(listener) == []
        assert read(listener, after=at[0]) == [RESET, 2]

    def test_a_listener_added_later_gets_no_reset(self, channel):
        channel.broadcast(count(1))
        sequence()
        listener = channel.add_listener()
        listener.start()
        age()
        trim()
        assert take_all(channel, listener) == []

    def test_a_loss_of_others_causes_no_reset(self, channel, listener):
        other = channel.add_listener(User.objects.create(username="bob"))
        channel.dispatch(other.id, count(1))
        channel.dispatch_to_owner(User.objects.get(), count(2))
        DatabaseChannel.create("bills").broadcast(count(3))
        sequence()
        age()
        trim()
        assert read(listener) == []
        assert read(other) == [RESET]

    def test_a_watcher_gets_resets_for_lost_broadcasts_only(self, channel, listener):
        channel.dispatch(listener.id, count(1))
        sequence()
        age()
        trim()
        assert log.read([log.Recipient(channel.row.pk, None, None, 0)], None, 10) == []
        channel.broadcast(count(2))
        sequence()
        age()
        trim()
        [reset] = log.read([log.Recipient(channel.row.pk, None, None, 0)], None, 10)
        assert reset.type == RESET
