"""Bounds: how many messages may wait for a listener, and how many listeners a channel has."""

import json

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test.utils import CaptureQueriesContext

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel, DatabaseConnectionsFactory
from eric_sse_django.entry import RESET
from eric_sse_django.exception import NoMessagesException, TooManyListeners
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Listener
from eric_sse_django.shortcuts import listen
from tests.contract import count, soon
from tests.database.test_lifetime import pass_time, publish, sequence
from tests.database.tools import entries

MOST = 3


def read(listener, after=0, limit=1_000):
    """Return what a stream of the listener reads: numbers, and the payloads of resets."""
    row = listener.row
    found = log.read([log.Recipient.of(row, after)], None, limit)
    return [json.loads(entry.payload) for entry in found]


def positions():
    return [entry.position for entry in entries()]


def take_all(channel, listener):
    taken = []
    while True:
        try:
            message = channel.deliver_next(listener.id)
        except NoMessagesException:
            return taken
        taken.append(RESET if message.type == RESET else message.payload)


@pytest.mark.usefixtures("no_notifier")
class TestWaiting:
    @pytest.fixture(autouse=True)
    def few(self, settings):
        settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": MOST}

    def test_up_to_the_limit_all_messages_are_delivered(self, channel, listener):
        channel.broadcast_many(map(count, range(MOST)))
        sequence()
        assert read(listener) == list(range(MOST))

    def test_over_the_limit_the_oldest_are_skipped_after_a_reset(self, channel, listener):
        channel.broadcast_many(map(count, range(10)))
        sequence()
        at = positions()
        assert read(listener) == [{"after": 0, "floor": at[6]}, 7, 8, 9]
        assert read(listener, at[1]) == [{"after": at[1], "floor": at[6]}, 7, 8, 9]
        assert read(listener, at[6]) == [7, 8, 9]

    def test_pop_and_deliver_next_apply_the_limit_too(self, channel, listener):
        channel.broadcast_many(map(count, range(10)))
        sequence()
        assert take_all(channel, listener) == [RESET, 7, 8, 9]
        channel.broadcast_many(map(count, range(20, 30)))
        sequence()
        assert channel.deliver_next(listener.id).type == RESET
        assert channel.deliver_next(listener.id).payload == 27
        channel.broadcast_many(map(count, range(30, 32)))
        sequence()
        assert take_all(channel, listener) == [RESET, 29, 30, 31]

    def test_later_pages_have_no_second_reset(self, channel, listener):
        channel.broadcast_many(map(count, range(10)))
        sequence()
        row, (head, _), after, found = listener.row, log.head(), 0, []
        while after < head:
            page = log.read([log.Recipient(row.channel_id, row.pk, None, after)], head, 2)
            found += [RESET if each.type == RESET else int(each.payload) for each in page]
            after = page.reached
        assert found == [RESET, 7, 8, 9]

    def test_each_way_of_being_addressed_counts(self, channel, database):
        ana = User.objects.create(username="ana")
        listener = channel.add_listener(ana)
        for number in range(3):
            channel.broadcast(count(number))
            channel.dispatch(listener.id, count(number + 10))
            channel.dispatch_to_owner(ana, count(number + 20))
        sequence()
        assert read(listener)[1:] == [2, 12, 22]

    def test_messages_for_others_do_not_count(self, channel, listener):
        other = channel.add_listener()
        DatabaseChannel.create("bills").broadcast_many(map(count, range(10)))
        for number in range(10):
            channel.dispatch(other.id, count(number))
        channel.broadcast_many(map(count, range(MOST)))
        sequence()
        assert read(listener) == list(range(MOST))

    def test_control_messages_do_not_count(self, channel, listener):
        channel.broadcast_many(map(count, range(MOST)))
        for _ in range(10):
            listener.stop()
        listener.start()
        sequence()
        assert take_all(channel, listener) == list(range(MOST))

    def test_expired_messages_do_not_count(self, channel, listener):
        publish(channel, 1)
        for number in range(10, 20):
            publish(channel, number, expires_in_s=60)
        publish(channel, 2)
        sequence()
        pass_time(*range(10, 20))
        assert read(listener) == [1, 2]

    def test_a_watcher_has_no_bound(self, channel):
        channel.broadcast_many(map(count, range(10)))
        sequence()
        assert len(log.read([log.Recipient(channel.row.pk, None, None, 0)], None, 100)) == 10

    async def test_a_stream_begins_with_the_reset(self, channel, listener, call):
        await call(channel.broadcast_many, [count(number) for number in range(10)])
        await call(sequence)
        events = channel.message_stream(listener)
        got = [await soon(anext(events)) for _ in range(MOST + 1)]
        assert [event["event"] for event in got] == [RESET, *["count"] * MOST]
        assert [event["data"] for event in got[1:]] == [7, 8, 9]
        await call(channel.broadcast, count(10))
        await call(sequence)
        assert (await soon(anext(events)))["data"] == 10
        await events.aclose()

    def test_a_later_loss_by_retention_causes_another_reset(self, channel, listener):
        channel.broadcast_many(map(count, range(10)))
        sequence()
        at = positions()
        pass_time(4, 6)
        log.trim()
        # 5, 7, 8 and 9 are left: 5 goes, as the oldest of four.
        assert read(listener) == [
            {"after": 0, "floor": at[5]},
            {"after": at[5], "floor": at[6]},
            7,
            8,
            9,
        ]


@pytest.mark.usefixtures("no_notifier")
class TestItsCost:
    def queries(self, database, listener, after=0):
        with CaptureQueriesContext(connections[database]) as captured:
            row = listener.row
            log.read([log.Recipient(row.channel_id, row.pk, None, after)], None, 1)
        return [query["sql"] for query in captured if "COUNT(*)" in query["sql"]]

    def test_fewer_positions_than_the_limit_cost_no_query(
        self, database, channel, listener, settings
    ):
        settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": 10}
        channel.broadcast_many(map(count, range(10)))
        sequence()
        start = listener.row.start
        assert self.queries(database, listener, start) == []

    def test_a_listener_is_counted_again_only_after_a_tenth_more_messages(
        self, database, channel, listener, settings
    ):
        settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": 20}
        start = listener.row.start
        for number in range(19):
            publish(channel, number)
        other = channel.add_listener()
        for number in range(10):
            channel.dispatch(other.id, count(number))
        sequence()
        assert len(self.queries(database, listener, start)) == 1
        assert self.queries(database, listener, start) == []
        assert self.queries(database, listener, start + 1) == []
        publish(channel, 19)
        publish(channel, 20)
        sequence()
        assert self.queries(database, listener, start) == []
        publish(channel, 21)
        sequence()
        assert len(self.queries(database, listener, start)) == 1
        assert read(listener, start)[1:] == list(range(2, 22))
        # An operator's replay takes it back: then it is counted again.
        assert len(self.queries(database, listener, start - 1)) == 1


class TestListeners:
    @pytest.fixture(autouse=True)
    def few(self, settings):
        settings.ERIC_SSE = {"MAX_LISTENERS_PER_CHANNEL": 2}

    def test_a_listener_over_the_limit_is_refused_by_every_way_of_adding_it(self, channel):
        for name in ("a", "b"):
            channel.add_listener(listener_id=name)
        for way in (
            channel.add_listener,
            lambda: channel.register_listener(MessageQueueListener()),
            lambda: DatabaseConnectionsFactory("orders").create(),
            lambda: listen("orders"),
        ):
            with pytest.raises(TooManyListeners, match=r"'orders' has 2 .* is 2:"):
                way()
        assert Listener.objects.count() == 2
        DatabaseChannel.create("bills").add_listener()

    def test_existing_listeners_are_returned_at_the_limit(self, channel, settings):
        for name in ("a", "b"):
            channel.add_listener(listener_id=name)
        settings.ERIC_SSE = {"MAX_LISTENERS_PER_CHANNEL": 1}
        assert channel.add_listener(listener_id="a").id == "a"
        with pytest.raises(TooManyListeners, match="2 listeners"):
            channel.add_listener()

    def test_a_removed_listener_makes_room_for_another(self, channel):
        for name in ("a", "b"):
            channel.add_listener(listener_id=name)
        channel.remove_listener("a")
        channel.add_listener(listener_id="c")

    def test_no_bound_costs_no_query(self, database, channel, settings):
        def queries():
            with CaptureQueriesContext(connections[database]) as captured:
                channel.add_listener()
            return len(captured)

        bounded = queries()
        settings.ERIC_SSE = {}
        assert queries() == bounded - 1
