"""Wall clocks that are wrong, or set: they change neither the order nor what is lost."""

import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import RESET
from eric_sse_django.hub import totals
from eric_sse_django.message import Message
from eric_sse_django.models import OpenStream, QueuedMessage
from tests.database.tools import entries

HOUR_S = 3_600


@pytest.fixture
def clock(monkeypatch):
    """Return a function that makes this process's wall clock wrong by so many seconds."""
    right, right_now = time.time, timezone.now

    def put_on(seconds):
        monkeypatch.setattr(time, "time", lambda: right() + seconds)
        monkeypatch.setattr(timezone, "now", lambda: right_now() + timedelta(seconds=seconds))

    return put_on


@pytest.fixture
def orders(database):
    return DatabaseChannel.create("orders")


def settle():
    while log.sequence():
        pass


def test_positions_grow_while_the_clock_goes_back(orders, clock):
    for number, seconds in enumerate((0, -HOUR_S, HOUR_S, -2 * HOUR_S)):
        clock(seconds)
        orders.broadcast(Message("n", number))
    settle()
    found = entries()
    assert [entry.payload for entry in found] == ["0", "1", "2", "3"]
    created = [entry.created_at for entry in found]
    assert created != sorted(created)


def test_a_queue_returns_messages_in_order_after_the_clock_went_back(orders, clock):
    listener = orders.add_listener()
    listener.start()
    orders.broadcast(Message("n", 1))
    clock(-HOUR_S)
    orders.broadcast(Message("n", 2))
    assert [orders.deliver_next(listener.id).payload for _ in range(2)] == [1, 2]


def test_a_clock_that_went_back_removes_nothing_early_and_all_in_the_end(orders, clock):
    clock(HOUR_S)
    orders.broadcast(Message("n", "by the fast clock"))
    clock(0)
    orders.broadcast(Message("n", "by the right clock"))
    settle()
    assert log.trim() == 0
    kept_s = 7 * 24 * HOUR_S
    clock(kept_s + 1)
    assert log.trim() == 1  # the other has an hour left, by the clock it was published with
    assert QueuedMessage.objects.using(log.database()).get().payload == '"by the fast clock"'
    clock(kept_s + HOUR_S + 1)
    assert log.trim() == 1


def test_messages_past_their_retention_by_a_slow_clock_cause_a_reset(orders, clock, settings):
    settings.ERIC_SSE = {"RETENTION_S": 60}
    listener = orders.add_listener()
    listener.start()
    clock(-HOUR_S)
    orders.broadcast(Message("n", "past its retention at birth"))
    clock(0)
    settle()
    assert log.trim() == 1
    assert orders.deliver_next(listener.id).type == RESET


def test_a_message_without_a_position_is_not_removed(orders, clock):
    clock(-30 * 24 * HOUR_S)
    log.append([log.row(orders.row, Message("n", 1))])  # and nobody rings
    clock(0)
    assert log.trim() == 0
    settle()
    assert log.trim() == 1


async def test_a_stream_continues_while_the_clock_goes_back(site, clock):
    listener = await site.listener()
    reader = await site.read(listener)
    before = totals.sums()[0].delays
    for number, seconds in enumerate((0, -HOUR_S, HOUR_S, 0)):
        clock(seconds)
        await site.publish(number)
        await reader.count(number + 1)
    assert reader.data == ["0", "1", "2", "3"]
    assert reader.ids == sorted(reader.ids)
    assert reader.stream.reason is None
    after = totals.sums()[0].delays
    assert after.sum_s >= before.sum_s  # never a delay below nothing


@pytest.mark.django_db(transaction=True)
async def test_a_listener_stays_online_when_the_clock_of_its_hub_is_set(site, clock, fast_ticks):
    listener = await site.listener()
    await site.read(listener)
    await site.hub.records.write()
    for seconds in (HOUR_S, -HOUR_S):
        clock(seconds)
        site.hub.records.cursors.reached(listener.pk, 0)  # as a stream does that sends
        site.hub.records._presence._renew_at = 0.0  # as after RENEW_S
        await site.hub.records.write()
        assert await sync_to_async(OpenStream.objects.online().count)() == 1
