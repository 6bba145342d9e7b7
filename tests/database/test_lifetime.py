"""Lifetimes: an expired message goes to nobody, and nobody misses it."""

import json
import math
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import F

from eric_sse_django import log, shortcuts
from eric_sse_django.database import DatabaseChannel, DatabaseQueue, queue
from eric_sse_django.entry import RESET
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.models import Channel, Listener, QueuedMessage
from tests.contract import count
from tests.database.tools import entries

pytestmark = pytest.mark.usefixtures("no_notifier")


def sequence():
    while log.sequence():
        pass


def publish(channel, number, expires_in_s=None, **to):
    """Publish a message whose payload is `number`."""
    log.append([log.row(channel.row, count(number), expires_in_s=expires_in_s, **to)])


def pass_time(*numbers, days=30):
    """Move the expiry of these messages (of all, if none is named) by `days`."""
    rows = QueuedMessage.objects.all()
    if numbers:
        rows = rows.filter(payload__in=[str(number) for number in numbers])
    rows.update(expires_at=F("expires_at") - timedelta(days=days))


def read(listener, limit=1_000, after=0):
    row = listener.row
    found = log.read([log.Recipient.of(row, after)], None, limit)
    return [json.loads(entry.payload) for entry in found]


def lifetimes():
    """Return the lifetime of each message in the log, None for those without one."""
    return [
        (row.expires_at - row.created_at).total_seconds() if row.perishable else None
        for row in QueuedMessage.objects.order_by("pk")
    ]


class TestPublishing:
    def test_each_way_of_publishing_takes_a_lifetime(self, channel, listener, database):
        ana = User.objects.create(username="ana")
        channel.broadcast(count(1), expires_in_s=1)
        channel.broadcast_many([count(2), count(3)], expires_in_s=2)
        channel.dispatch(listener.id, count(4), expires_in_s=0.5)
        channel.dispatch_to_owner(ana, count(5), expires_in_s=4)
        shortcuts.publish("orders", "n", 6, expires_in_s=5)
        shortcuts.publish("orders", "n", 7, listener_id=listener.id, expires_in_s=6)
        shortcuts.publish("orders", "n", 8, owner=ana, expires_in_s=7)
        assert lifetimes() == [1, 2, 2, 0.5, 4, 5, 6, 7]

    async def test_each_coroutine_that_publishes_takes_a_lifetime(
        self, channel, listener, call, database
    ):
        ana = await call(lambda: User.objects.create(username="ana"))
        await channel.abroadcast(count(1), expires_in_s=1)
        await channel.abroadcast_many([count(2)], expires_in_s=2)
        await channel.adispatch(listener.id, count(4), expires_in_s=3)
        await channel.adispatch_to_owner(ana, count(5), expires_in_s=4)
        await shortcuts.apublish("orders", "n", 6, expires_in_s=5)
        assert await call(lifetimes) == [1, 2, 3, 4, 5]

    def test_a_channel_gives_its_lifetime_to_messages_without_one(self, database):
        typing = DatabaseChannel.create("typing", expires_in_s=5)
        typing.broadcast(count(1))
        DatabaseChannel.load("typing").broadcast(count(2), expires_in_s=60)
        DatabaseQueue(typing.add_listener().row).push(count(3))
        assert lifetimes() == [5, 60, 5]

    def test_a_lifetime_longer_than_retention_is_ignored(self, database, settings):
        settings.ERIC_SSE = {"RETENTION_S": 60}
        channel = DatabaseChannel.create("orders")
        channel.broadcast(count(1), expires_in_s=61)
        channel.broadcast(count(2), expires_in_s=60)
        assert lifetimes() == [None, 60]
        ends = [row.expires_at - row.created_at for row in QueuedMessage.objects.all()]
        assert [end.total_seconds() for end in ends] == [60, 60]

    def test_a_channels_is_a_whole_number_of_seconds(self, database):
        for wrong in (0, -1, "x", True, 1.5, Decimal("1.5"), math.inf, math.nan, b"1", 10**12):
            with pytest.raises(ValidationError, match="expires_in_s"):
                DatabaseChannel.create("typing", expires_in_s=wrong)
        day_s = timedelta(days=1).total_seconds()
        assert DatabaseChannel.create("typing", expires_in_s=day_s).row.expires_in_s == 86_400


class TestEntries:
    def test_entries_have_the_end_of_their_lifetime_if_they_have_one(self, channel, listener):
        publish(channel, 1)
        publish(channel, 2, expires_in_s=60)
        sequence()
        row = listener.row
        for found in (
            entries(),
            log.read([log.Recipient(row.channel_id, row.pk, None, 0)], None, 10),
        ):
            lasting, mortal = found
            assert lasting.expires_at is None
            assert mortal.expires_at == pytest.approx(time.time() + 60, abs=30)

    def test_a_message_whose_retention_is_over_is_not_expired(self, channel, listener):
        publish(channel, 1)
        sequence()
        pass_time()
        assert read(listener) == [1]


class TestReading:
    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_an_expired_message_is_skipped_and_hides_no_other(self, channel, listener, limit):
        for number in range(10):
            publish(channel, number, expires_in_s=60)
        sequence()
        pass_time(0, 1, 2, 3, 5, 9)
        assert read(listener, limit) == [4, 6, 7, 8][:limit]

    def test_pop_skips_expired_messages(self, channel, listener):
        for number in range(6):
            publish(channel, number, expires_in_s=60)
        sequence()
        pass_time(0, 1, 2, 4)
        assert [channel.deliver_next(listener.id).payload for _ in range(2)] == [3, 5]
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)

    def test_pop_reads_many_expired_messages_once(self, channel, listener, monkeypatch):
        monkeypatch.setattr(queue, "MAX_READ_AGAIN", 5)
        for number in range(6):
            publish(channel, number, expires_in_s=60)
        sequence()
        pass_time()
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)
        assert Listener.objects.get().cursor == log.head()[0]
        for number in range(5):
            publish(channel, number, expires_in_s=60)
        sequence()
        pass_time()
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)
        assert Listener.objects.get().cursor == log.head()[0] - 5
        publish(channel, 7)
        sequence()
        assert channel.deliver_next(listener.id).payload == 7

    def test_a_queue_does_not_count_expired_messages(self, channel, listener):
        for number in range(3):
            publish(channel, number, expires_in_s=60)
        sequence()
        pass_time(0, 1)
        assert len(DatabaseQueue(listener.row)) == 1


class TestRemoving:
    def test_an_expired_message_that_is_removed_is_no_loss(self, channel, listener, database):
        ana = User.objects.create(username="ana")
        other = channel.add_listener(ana)
        for to in ({}, {"listener": listener.row.pk}, {"owner": ana.pk}):
            publish(channel, 1, expires_in_s=60, **to)
        sequence()
        pass_time()
        assert log.trim() == 3
        assert set(Channel.objects.values_list("floor", flat=True)) == {0}
        assert set(Listener.objects.values_list("floor", flat=True)) == {0}
        assert read(listener) == read(other) == []

    def test_a_message_that_retention_removed_before_its_expiry_is_a_loss(
        self, channel, listener, settings
    ):
        settings.ERIC_SSE = {"RETENTION_S": 60}
        publish(channel, 1, expires_in_s=3_600)
        sequence()
        pass_time()
        assert log.trim() == 1
        row = listener.row
        [reset] = log.read([log.Recipient(row.channel_id, row.pk, None, 0)], None, 10)
        assert reset.type == RESET
