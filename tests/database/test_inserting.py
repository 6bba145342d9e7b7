"""A message that is published alone gets its position with its INSERT; nothing else changes."""

import threading
import time

import pytest
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext

from eric_sse_django import log
from eric_sse_django.database import channel as channel_module
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.log import dialect, inserting
from eric_sse_django.log.history import make_head
from eric_sse_django.log.protocol import SEGMENT_BYTES
from eric_sse_django.models import Channel, LogHead, QueuedMessage
from eric_sse_django.shortcuts import publish
from tests.contract import count
from tests.database.tools import PATIENCE_S, atomic, entries, payloads, roll_back, threads
from tests.databases import on

both = on("sqlite", "postgres")


@pytest.fixture(autouse=True)
def placed_always(monkeypatch, sequenced_later, database, channel, no_notifier):
    make_head(database)
    monkeypatch.setattr(channel_module, "_known", {})
    channel_module.known_channel("orders")  # its row is read before statements are counted
    monkeypatch.setattr(inserting, "APART_S", -1.0)
    monkeypatch.setattr(inserting, "SLOW_S", float("inf"))
    monkeypatch.setattr(inserting, "_paused_until", float("-inf"))


def head():
    return LogHead.objects.get()


@both
def test_it_has_its_position_when_it_is_committed(channel, passed_on):
    known = log.follow()
    publish("orders", "n", 1)
    [segment] = passed_on
    look = log.look(known, None, 10)
    assert log.is_next(segment, known)
    assert segment.known == look.head
    assert segment.channels == {channel.row.pk}
    fields = (*dialect.ENTRY_FIELDS[:8], "stamp", "expires_at", "created_at")
    [given], [found] = segment.entries, look.entries
    assert [getattr(given, name) for name in fields] == [getattr(found, name) for name in fields]
    assert not log.pending().exists()
    assert log.sequence() == 0


@both
def test_segments_are_a_chain_whoever_gives_the_positions(channel, passed_on, monkeypatch):
    known = log.follow()
    for number in range(6):
        monkeypatch.setattr(inserting, "APART_S", -1.0 if number % 2 else float("inf"))
        publish("orders", "n", number)
        log.sequence(passed_on.append)
    for segment in passed_on:
        assert log.is_next(segment, known)
        known = segment.known
    assert payloads() == list(range(6))


@both
def test_it_takes_one_statement_and_on_sqlite_that_of_the_head(database, channel, passed_on):
    with CaptureQueriesContext(connections[database]) as captured:
        publish("orders", "n", 1)
    found = [query["sql"].split()[0] for query in captured]
    expected = {"postgresql": ["WITH"], "sqlite": ["BEGIN", "INSERT", "UPDATE", "COMMIT"]}
    assert found == expected[connections[database].vendor]


@both
def test_every_address_is_kept(channel, listener, django_user_model, passed_on):
    ana = django_user_model.objects.create(username="ana")
    publish("orders", "n", 1)
    publish("orders", "n", 2, owner=ana)
    publish("orders", "n", 3, listener_id=listener.id)
    channel.dispatch(listener.id, count(4))
    channel.broadcast(count(5))
    channel.dispatch_to_owner(ana, count(6))
    rows = QueuedMessage.objects.order_by("position").values_list("listener", "owner")
    to_one = (listener.row.pk, None)
    assert list(rows)[-6:] == [
        (None, None),
        (None, ana.pk),
        to_one,
        to_one,
        (None, None),
        (None, ana.pk),
    ]
    assert len(passed_on) >= 6
    assert not log.pending().exists()


@both
def test_a_lifetime_is_in_the_segment(channel, passed_on):
    publish("orders", "n", 1, expires_in_s=60)
    [entry] = passed_on[0].entries
    assert entry.expires_at == pytest.approx(time.time() + 60, abs=PATIENCE_S)


@both
def test_a_large_payload_is_not_passed_on(channel, passed_on):
    publish("orders", "n", "x" * SEGMENT_BYTES)
    assert passed_on[0].entries is None
    assert not log.pending().exists()


# Where it gets none -----------------------------------------------------------------


@both
def test_in_a_transaction_of_the_caller_it_gets_none(channel, passed_on):
    with atomic():
        publish("orders", "n", 1)
        assert head().position == 0
        assert log.pending().count() == 1
    roll_back(lambda: publish("orders", "n", 2))
    assert passed_on == []
    assert log.sequence() == 1
    assert payloads() == [1]


@both
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_in_a_transaction_that_django_does_not_know_it_gets_none(
    database, channel, passed_on, end
):
    with connections[database].cursor() as cursor:
        cursor.execute("BEGIN")
        publish("orders", "n", 1)
        channel.broadcast(count(2))
        cursor.execute(end)
    assert head().position == 0
    assert passed_on == []
    assert log.pending().count() == (2 if end == "COMMIT" else 0)


@both
def test_after_one_that_waits_it_waits_too(channel, passed_on, monkeypatch):
    monkeypatch.setattr(inserting, "APART_S", float("inf"))
    publish("orders", "n", 1)
    monkeypatch.setattr(inserting, "APART_S", -1.0)
    publish("orders", "n", 2)
    assert head().position == 0
    assert passed_on == []
    assert log.sequence() == 2
    assert payloads() == [1, 2]


@both
def test_of_several_at_once_only_the_first_gets_one(channel, passed_on, monkeypatch):
    monkeypatch.setattr(inserting, "APART_S", 60.0)
    monkeypatch.setattr(inserting, "_published_at", float("-inf"))
    for number in range(3):
        publish("orders", "n", number)
    assert len(passed_on) == 1
    assert log.pending().count() == 2


@on("postgres")
def test_a_head_that_is_locked_delays_no_publisher(database, channel, passed_on):
    with threads() as running, atomic():
        LogHead.objects.select_for_update().get()
        running.start(publish, "orders", "n", 1).result(PATIENCE_S)
        assert passed_on == []
    assert log.sequence() == 1
    assert payloads() == [1]


@both
def test_without_a_head_it_waits_and_the_sequencer_makes_one(channel, passed_on):
    LogHead.objects.all().delete()
    publish("orders", "n", 1)
    assert passed_on == []
    assert log.sequence() == 1
    assert payloads() == [1]


@on("postgres")
def test_a_conflict_of_a_stricter_isolation_level_fails_no_publisher(
    database, channel, passed_on, monkeypatch
):
    def conflict(*_):
        cause = Exception("could not serialize access")
        cause.sqlstate = "40001"
        raise OperationalError("could not serialize access") from cause

    monkeypatch.setattr(inserting, "_place", conflict)
    publish("orders", "n", 1)
    assert log.sequence() == 1
    assert payloads() == [1]


@on("sqlite")
def test_after_one_that_was_slow_others_wait_for_a_while(channel, passed_on, monkeypatch):
    """It has kept the lock for writing for as long, which other processes wait for."""
    monkeypatch.setattr(inserting, "SLOW_S", 0.0)
    publish("orders", "n", 1)
    publish("orders", "n", 2)
    assert len(passed_on) == 1
    monkeypatch.setattr(inserting, "_paused_until", time.monotonic())
    log.sequence()
    publish("orders", "n", 3)
    assert len(passed_on) == 2
    assert payloads() == [1, 2, 3]


@on("sqlite")
def test_after_one_that_failed_for_a_lock_others_wait_for_a_while(
    database, channel, passed_on, monkeypatch
):
    monkeypatch.setattr(inserting, "SLOW_S", 0.0)

    def fail(*_):
        raise OperationalError("database is locked")

    monkeypatch.setattr(inserting, "_place", fail)
    with pytest.raises(OperationalError):
        publish("orders", "n", 1)
    publish("orders", "n", 2)
    assert passed_on == []
    assert log.pending().count() == 1


@on("postgres")
def test_one_that_was_slow_changes_nothing_where_it_keeps_no_lock_from_others(
    channel, passed_on, monkeypatch
):
    monkeypatch.setattr(inserting, "SLOW_S", 0.0)
    publish("orders", "n", 1)
    publish("orders", "n", 2)
    assert len(passed_on) == 2


@on("mariadb")
def test_on_mariadb_it_waits(channel, passed_on):
    publish("orders", "n", 1)
    assert passed_on == []
    assert log.sequence() == 1


# What is not inserted moves nothing -------------------------------------------------


@both
def test_a_channel_that_was_removed_is_an_error_and_the_head_stays(channel, listener, passed_on):
    publish("orders", "n", 1)
    before = head().position
    Channel.objects.filter(name="orders").delete()
    for to in ({}, {"listener_id": listener.id}):
        with pytest.raises(InvalidChannelException):
            publish("orders", "n", 2, **to)
    assert head().position == before
    assert len(passed_on) == 1


@both
def test_a_listener_that_does_not_exist_is_an_error_and_the_head_stays(channel, passed_on):
    with pytest.raises(InvalidListenerException):
        publish("orders", "n", 1, listener_id="nobody")
    assert head().position == 0


@both
def test_an_insert_that_fails_moves_nothing(database, channel, passed_on):
    draft = log.draft(channel.row, "n", 1)
    draft.type = None
    with pytest.raises(Exception, match=r"(?i)null"):
        log.append_one(draft)
    assert head().position == 0
    assert connections[database].get_autocommit()
    assert not connections[database].in_atomic_block


# All at once ------------------------------------------------------------------------


@both
def test_publishers_and_a_sequencer_at_once_lose_and_reorder_nothing(database, channel):
    """Also each publisher's own messages keep their order, and no position comes late."""
    publishers, each = 4, 25
    stop = threading.Event()

    def publish_all(name):
        for number in range(each):
            if number % 5 == 4:
                with transaction.atomic(using=log.database()):
                    publish("orders", str(name), number)
            else:
                publish("orders", str(name), number)

    def sequence_all():
        while not stop.is_set():
            log.sequence()

    def follow_all():
        known, seen = log.Known(0), []
        deadline = time.monotonic() + PATIENCE_S
        while len(seen) < publishers * each and time.monotonic() < deadline:
            look = log.look(known, None, 1_000)
            seen += look.entries
            known = look.head
        return seen

    with threads() as running:
        following, sequencing = running.start(follow_all), running.start(sequence_all)
        publishing = [running.start(publish_all, name) for name in range(publishers)]
        try:
            for each_one in publishing:
                each_one.result(PATIENCE_S * 2)
            seen = following.result(PATIENCE_S)
        finally:
            stop.set()
        sequencing.result(PATIENCE_S)
    assert [entry.position for entry in seen] == [entry.position for entry in entries()]
    for name in range(publishers):
        own = [int(entry.payload) for entry in seen if entry.type == str(name)]
        assert own == list(range(each))
