"""The tail: reads the log once for all, and hands on every entry exactly once."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from eric_sse_django import log, notifier
from eric_sse_django.entry import NO_CHANNEL, REVOKE, Entry
from eric_sse_django.hub import tail as tail_module
from eric_sse_django.hub.counters import Counters
from eric_sse_django.hub.feeds import LINGER_S
from eric_sse_django.hub.subjects import keys_of
from eric_sse_django.hub.tail import Tail
from tests.streams.test_feed import Listening


class FakeLog:
    """Answers for the database thread. `before_answer` runs while a read is under way."""

    def __init__(self):
        self.entries = []
        self.head = self.trimmed = 0
        self.is_same = True
        self.pending = False
        self.reads = []
        self.before_answer = None

    def publish(self, position, channel=1, type="n", payload="1"):
        self.entries.append(Entry(position, channel, None, None, type, payload))
        self.head = position

    async def run(self, function, *args):
        if isinstance(self.head, Exception):
            raise self.head
        head = log.Known(self.head, None, self.trimmed)
        if function is log.first_look:
            return head
        if function is log.begin_history:
            self.begun = args
            self.head, self.is_same = 2**40, True
            return log.Known(self.head)
        if function is log.look:
            known, channels, limit = args
            if not self.is_same:
                return log.Look(head, self.pending, [], False)
            after, pending = known.position, self.pending
            found = []
            if after < head.position:
                found = await self.run(log.tail, after, head.position, channels, limit)
            return log.Look(head, pending, found)
        assert function is log.tail
        after, upto, channels, limit = args
        self.reads.append(channels)
        found = [
            entry
            for entry in self.entries
            if after < entry.position <= upto and (channels is None or entry.channel in channels)
        ]
        if self.before_answer is not None:
            self.before_answer()
        return found[:limit]


@pytest.fixture
def rows():
    return FakeLog()


@pytest.fixture
async def tail(rows):
    tail = Tail(rows.run, Counters())
    await tail.start()
    return tail


async def test_it_starts_at_the_head(rows):
    rows.publish(41)
    tail = Tail(rows.run, Counters())
    await tail.start()
    assert tail.position == 41


async def test_one_read_serves_all_channels(rows, tail):
    streams = {channel: Listening(tail.feed_of(channel)) for channel in (1, 2)}
    for position in range(1, 7):
        rows.publish(position, channel=position % 3 or 3)
    await tail._look()
    assert rows.reads == [{NO_CHANNEL, 1, 2}]
    assert streams[1].positions == [1, 4]
    assert streams[2].positions == [2, 5]
    assert tail.position == 6


async def test_without_channels_only_what_is_told_to_all_hubs_is_read(rows, tail):
    rows.publish(7)
    await tail._look()
    assert rows.reads == [{NO_CHANNEL}]
    assert tail.position == 7


async def test_with_very_many_channels_all_rows_are_read(rows, tail, monkeypatch):
    monkeypatch.setattr(tail_module, "CHANNELS_IN_QUERY", 2)
    streams = [Listening(tail.feed_of(channel)) for channel in (1, 2, 3)]
    rows.publish(1, channel=99)
    rows.publish(2, channel=1)
    await tail._look()
    assert rows.reads == [None]
    assert [stream.positions for stream in streams] == [[2], [], []]


async def test_a_feed_that_comes_amid_a_read_is_sent_to_the_log(rows, tail):
    first = Listening(tail.feed_of(1))
    rows.publish(1, channel=1)
    rows.publish(2, channel=2)
    came = []
    rows.before_answer = lambda: came or came.append(Listening(tail.feed_of(2)))
    await tail._look()
    assert first.positions == [1]
    (late,) = came
    assert late.positions == []
    assert late.falls == 1
    assert tail.feed_of(2).floor == 2
    rows.publish(3, channel=2)
    await tail._look()
    assert late.positions == [3]


async def test_more_than_one_read_holds_comes_in_several(rows, tail, monkeypatch):
    monkeypatch.setattr(tail._limit, "rows", 2)
    monkeypatch.setattr(tail._limit, "_most_rows", 2)
    stream = Listening(tail.feed_of(1))
    for position in range(1, 8):
        rows.publish(position)
    await tail._look()
    assert stream.positions == [1, 2, 3, 4, 5, 6, 7]
    assert len(rows.reads) == 4


async def test_where_something_was_removed_unread_streams_read_the_log_themselves(rows, tail):
    stream = Listening(tail.feed_of(1))
    rows.publish(1)
    await tail._look()
    rows.trimmed = 1  # this was read
    rows.publish(2)
    await tail._look()
    assert (stream.positions, stream.falls) == ([1, 2], 0)
    rows.publish(4)
    rows.trimmed = 3
    await tail._look()
    assert (stream.positions, stream.falls) == ([1, 2], 1)
    assert tail.position == 4
    rows.publish(5)
    await tail._look()
    assert stream.positions == [1, 2, 5]


async def test_standing_still_for_long_alone_sends_nobody_to_the_log(rows, tail):
    stream = Listening(tail.feed_of(1))
    rows.publish(1)
    tail._looked_at -= 1_000_000
    await tail._look()
    assert (stream.positions, stream.falls) == ([1], 0)


async def test_another_history_is_said_once_and_begun_above_what_was_seen(rows, tail, caplog):
    stream = Listening(tail.feed_of(1))
    rows.publish(500)
    await tail._look()
    changes = []
    tail.on_history = lambda: changes.append(tail.position)
    rows.entries.clear()
    rows.head, rows.is_same = 3, False
    await tail._look()
    assert rows.begun == (500,)
    assert tail.position == 2**40
    assert changes == [500]  # before anybody reads on from there
    assert stream.falls == 1
    assert caplog.text.count("the log has another history: it is at 3") == 1
    rows.publish(2**40 + 1)
    await tail._look()
    assert stream.positions[-1] == 2**40 + 1


async def test_who_awaits_a_look_gets_one_that_began_afterwards(rows, tail):
    following = asyncio.create_task(tail.follow())
    woken = []
    tail.wakers.add(lambda: woken.append(tail.position))
    rows.publish(1)
    await asyncio.wait_for(tail.look(), 1)
    assert tail.position == 1
    assert woken == [1]
    following.cancel()


async def test_rows_without_a_position_ring_the_notifier(rows, tail, monkeypatch):
    rung = []
    monkeypatch.setattr(notifier, "ring", lambda: rung.append(1))
    rows.pending = True
    await tail._look()
    assert rung == [1]


async def test_an_outage_is_logged_once_and_over_by_itself(rows, tail, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(tail._outage, "_backoff", Quick())
    stream = Listening(tail.feed_of(1))
    following = asyncio.create_task(tail.follow())
    rows.head = OperationalError("gone")
    looked = asyncio.create_task(tail.look())
    while tail._outage._failures < 3:
        await asyncio.sleep(0)
    assert not looked.done()
    rows.head = 0
    rows.publish(1)
    await asyncio.wait_for(looked, 1)
    following.cancel()
    assert stream.positions == [1]
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("reading the log failed")
    assert [m for m in messages if "works again" in m] == messages[1:]


class Quick:
    def next_delay_s(self):
        return 0

    def reset(self):
        pass


async def test_quiet_channels_are_forgotten_after_a_while(tail):
    stream = Listening(tail.feed_of(1))
    tail.feed_of(1).discard(stream)
    gone_at = tail.feed_of(1).quiet_since
    tail.feeds.forget_quiet(gone_at + LINGER_S)
    assert list(tail.feeds.channels()) == [1]
    tail.feeds.forget_quiet(gone_at + LINGER_S + 1)
    assert not tail.feeds.channels()
    assert tail.feeds.found([1]) is None


async def test_a_feed_of_several_channels_gets_them_in_the_logs_order(rows, tail):
    both, one = Listening(tail.feed_of(2, 1)), Listening(tail.feed_of(1))
    for position, channel in enumerate((2, 1, 3, 1, 2), start=1):
        rows.publish(position, channel)
    await tail._look()
    assert both.positions == [1, 2, 4, 5]
    assert one.positions == [2, 4]
    assert tail.feed_of(1, 2) is tail.feed_of(2, 1)


async def test_a_revocation_is_told_before_what_is_handed_out_with_it(rows, tail):
    told = []
    stream = Listening(tail.feed_of(1))
    tail.revoked.notify = lambda subjects: told.append((subjects, list(stream.positions)))
    rows.publish(1)
    rows.publish(2, NO_CHANNEL, REVOKE, '["user:7"]')
    rows.publish(3)
    await tail._look()
    assert told == [(frozenset({"user:7"}), [])]
    assert stream.positions == [1, 3]
    ends = []
    late = SimpleNamespace(subjects=keys_of(["user:7"]), end=ends.append)
    tail.revoked.catch_up(late, 2)
    assert ends == []
    tail.revoked.catch_up(late, 1)
    assert ends == ["revoked"]


async def test_who_stood_still_for_long_is_told_of_revocations_all_the_same(
    rows, tail, monkeypatch
):
    told = []
    tail.revoked.notify = told.append
    rows.trimmed = 1
    monkeypatch.setattr(tail_module, "READ_ROWS", 1)
    for position in (1, 2, 3):
        rows.publish(position, NO_CHANNEL, REVOKE, f'["user:{position}"]')
    rows.publish(4)
    await tail._look()
    assert told == [{"user:1"}, {"user:2"}, {"user:3"}]
    assert tail.position == 4
