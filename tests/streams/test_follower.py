"""The follower: reads the log once for all, and delivers every entry exactly once."""

import asyncio
import logging

import pytest
from django.db import OperationalError

from eric_sse_django import log
from eric_sse_django.counters import Counters
from eric_sse_django.entry import NO_CHANNEL, REVOKE, Entry
from eric_sse_django.hub import follower as follower_module
from eric_sse_django.hub.feed import LINGER_S
from eric_sse_django.hub.follower import Follower
from eric_sse_django.hub.revocations import Revocations, keys_of
from tests.streams.test_feed import Listening


def feed_of(follower, channels):
    """Return the feed of these channels, as the hub has it for a stream."""
    return follower.feeds.of(channels, follower.position)


class FakeLog:
    """A log of a test. `before_answer` is called while it is read."""

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

    def follow(self, seen=None):
        if isinstance(self.head, Exception):
            raise self.head
        if seen is not None:
            self.begun = seen
            self.head, self.is_same = 2**40, True
        return log.Known(self.head, None, self.trimmed)

    def look(self, known, channels, limit):
        if isinstance(self.head, Exception):
            raise self.head
        head = log.Known(self.head, None, self.trimmed)
        if not self.is_same or known.position >= self.head:
            return log.Look(head, self.pending, [], self.is_same)
        self.reads.append(channels)
        found = [
            entry
            for entry in self.entries
            if known.position < entry.position <= self.head
            and (channels is None or entry.channel in channels)
        ]
        if self.before_answer is not None:
            self.before_answer()
        return log.Look(head, self.pending, found[:limit])


async def run(function, *args):
    """Call a function as the hub's thread does."""
    return function(*args)


def follower_of(rows, ring=lambda: None):
    """Return a follower of a log, and the list of the positions at which it saw new histories."""
    changes = []
    follower = Follower(
        *(asyncio.get_running_loop(), rows, run, Counters(), Revocations()),
        *(lambda: changes.append(follower.position), ring),
    )
    return follower, changes


@pytest.fixture
def rows():
    return FakeLog()


@pytest.fixture
async def follower(rows):
    follower, _ = follower_of(rows)
    await follower.start()
    return follower


async def test_it_starts_at_the_head(rows):
    rows.publish(41)
    follower, _ = follower_of(rows)
    await follower.start()
    assert follower.position == 41


async def test_a_wake_is_timed_to_the_look_that_follows_it(follower):
    delays = follower._counters.wake_delays
    following = asyncio.create_task(follower.follow())
    await follower.look()  # nobody rang
    assert sum(delays.counts) == 0
    follower.wake()
    follower.wake()
    await follower.look()
    await follower.look()
    assert sum(delays.counts) == 1
    following.cancel()


async def test_one_read_serves_all_channels(rows, follower):
    streams = {channel: Listening(feed_of(follower, [channel])) for channel in (1, 2)}
    for position in range(1, 7):
        rows.publish(position, channel=position % 3 or 3)
    await follower._look()
    assert rows.reads == [{NO_CHANNEL, 1, 2}]
    assert streams[1].positions == [1, 4]
    assert streams[2].positions == [2, 5]
    assert follower.position == 6


async def test_without_channels_only_notices_are_read(rows, follower):
    rows.publish(7)
    await follower._look()
    assert rows.reads == [{NO_CHANNEL}]
    assert follower.position == 7


async def test_with_very_many_channels_all_rows_are_read(rows, follower, monkeypatch):
    monkeypatch.setattr(follower_module, "CHANNELS_IN_QUERY", 2)
    streams = [Listening(feed_of(follower, [channel])) for channel in (1, 2, 3)]
    rows.publish(1, channel=99)
    rows.publish(2, channel=1)
    await follower._look()
    assert rows.reads == [None]
    assert [stream.positions for stream in streams] == [[2], [], []]


async def test_streams_of_a_feed_that_is_added_during_a_read_read_the_log(rows, follower):
    first = Listening(feed_of(follower, [1]))
    rows.publish(1, channel=1)
    rows.publish(2, channel=2)
    came = []
    rows.before_answer = lambda: came or came.append(Listening(feed_of(follower, [2])))
    await follower._look()
    assert first.positions == [1]
    (late,) = came
    assert late.positions == []
    assert late.falls == 1
    assert feed_of(follower, [2]).ring_buffer.floor == 2
    rows.publish(3, channel=2)
    await follower._look()
    assert late.positions == [3]


async def test_more_entries_than_fit_in_one_read_are_read_in_several(rows, follower, monkeypatch):
    monkeypatch.setattr(follower._limit, "rows", 2)
    monkeypatch.setattr(follower._limit, "_max_rows", 2)
    stream = Listening(feed_of(follower, [1]))
    for position in range(1, 8):
        rows.publish(position)
    await follower._look()
    assert stream.positions == [1, 2, 3, 4, 5, 6, 7]
    assert len(rows.reads) == 4


async def test_streams_read_the_log_if_something_was_removed_before_the_hub_read_it(
    rows, follower
):
    stream = Listening(feed_of(follower, [1]))
    rows.publish(1)
    await follower._look()
    rows.trimmed = 1  # this was read
    rows.publish(2)
    await follower._look()
    assert (stream.positions, stream.falls) == ([1, 2], 0)
    rows.publish(4)
    rows.trimmed = 3
    await follower._look()
    assert (stream.positions, stream.falls) == ([1, 2], 1)
    assert follower.position == 4
    rows.publish(5)
    await follower._look()
    assert stream.positions == [1, 2, 5]


async def test_a_long_time_without_a_look_alone_makes_no_stream_read_the_log(rows, follower):
    stream = Listening(feed_of(follower, [1]))
    rows.publish(1)
    follower._read_at -= 1_000_000
    await follower._look()
    assert (stream.positions, stream.falls) == ([1], 0)


async def test_another_history_is_logged_once_and_begun_above_what_was_seen(rows, caplog):
    follower, changes = follower_of(rows)
    await follower.start()
    stream = Listening(feed_of(follower, [1]))
    rows.publish(500)
    await follower._look()
    rows.entries.clear()
    rows.head, rows.is_same = 3, False
    await follower._look()
    assert rows.begun == 500
    assert follower.position == 2**40
    assert changes == [500]  # before any stream reads from there
    assert stream.falls == 1
    assert caplog.text.count("the log has another history: it is at 3") == 1
    rows.publish(2**40 + 1)
    await follower._look()
    assert stream.positions[-1] == 2**40 + 1


async def test_a_caller_of_look_waits_for_one_that_began_afterwards(rows, follower):
    following = asyncio.create_task(follower.follow())
    woken = []
    follower.queue_watchers.add(lambda: woken.append(follower.position))
    rows.publish(1)
    await asyncio.wait_for(follower.look(), 1)
    assert follower.position == 1
    assert woken == [1]
    following.cancel()


async def test_a_queue_that_was_watched_before_the_start_is_read_again_after_it(rows):
    """What was published between its read and the start is at or below the head."""
    follower, _ = follower_of(rows)
    woken = []
    follower.queue_watchers.add(lambda: woken.append(follower.position))
    rows.publish(7)
    await follower.start()
    following = asyncio.create_task(follower.follow())
    await asyncio.wait_for(follower.look(), 1)
    assert woken == [7]
    await follower.look()
    assert woken == [7]
    following.cancel()


async def test_a_wake_that_raises_does_not_stop_the_reads(rows, monkeypatch):
    """A project may watch a queue with its own function, also before the start."""
    follower, _ = follower_of(rows)
    monkeypatch.setattr(follower.outage, "failed", lambda: 0.0)
    follower.queue_watchers.add(lambda: 1 / 0)
    rows.publish(7)
    await follower.start()
    stream = Listening(feed_of(follower, [1]))
    following = asyncio.create_task(follower.follow())
    for position in (8, 9):
        rows.publish(position)
        await asyncio.wait_for(follower.look(), 1)
    assert stream.positions == [8, 9]
    following.cancel()


async def test_a_watch_that_raises_affects_no_other_and_is_no_outage(rows, follower, caplog):
    woken = []

    def fail():
        raise RuntimeError("a project's own")

    follower.queue_watchers.add(fail)
    follower.queue_watchers.add(lambda: woken.append(follower.position))
    rows.publish(1)
    await follower._look()
    assert woken == [1]
    assert not follower.outage.failures
    assert caplog.text.count("what watches a queue failed") == 1


async def test_what_a_look_delivered_before_it_failed_wakes_with_the_next(rows, follower):
    woken = []
    Listening(feed_of(follower, [1]))
    follower.queue_watchers.add(lambda: woken.append(follower.position))
    follower._limit.rows = 1
    rows.publish(1)
    rows.publish(2)

    def fail():
        rows.before_answer = down

    def down():
        raise OperationalError("the connection is lost")

    rows.before_answer = fail
    with pytest.raises(OperationalError):
        await follower._look()
    assert follower.position == 1
    rows.before_answer = None
    rows.entries.pop()  # removed meanwhile
    rows.head = 1
    await follower._look()
    assert woken == [1]


async def test_rows_without_a_position_ring_the_notifier(rows):
    rung = []
    follower, _ = follower_of(rows, ring=lambda: rung.append(1))
    await follower.start()
    rows.pending = True
    await follower._look()
    assert rung == [1]


async def test_an_outage_is_logged_once_and_ends_by_itself(rows, follower, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(follower.outage, "_backoff", Quick())
    stream = Listening(feed_of(follower, [1]))
    following = asyncio.create_task(follower.follow())
    rows.head = OperationalError("gone")
    looked = asyncio.create_task(follower.look())
    while follower.outage.failures < 3:
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


async def test_quiet_channels_are_forgotten_after_a_while(follower):
    stream = Listening(feed_of(follower, [1]))
    feed_of(follower, [1]).discard(stream)
    gone_at = feed_of(follower, [1]).quiet_since
    follower.feeds.forget_quiet(gone_at + LINGER_S)
    assert list(follower.feeds.by_channel) == [1]
    follower.feeds.forget_quiet(gone_at + LINGER_S + 1)
    assert not follower.feeds.by_channel
    assert follower.feeds.found([1]) is None


async def test_a_feed_of_several_channels_gets_them_in_the_logs_order(rows, follower):
    both, one = Listening(feed_of(follower, [2, 1])), Listening(feed_of(follower, [1]))
    for position, channel in enumerate((2, 1, 3, 1, 2), start=1):
        rows.publish(position, channel)
    await follower._look()
    assert both.positions == [1, 2, 4, 5]
    assert one.positions == [2, 4]
    assert feed_of(follower, [1, 2]) is feed_of(follower, [2, 1])


class Open:
    """A stream with a subject that may be revoked; notes what its feed had by then."""

    def __init__(self, follower, *subjects, stream=None):
        self.subjects = keys_of(subjects)
        self.ends = []
        self._stream = stream
        follower._revocations.add(self)

    def end(self, reason):
        self.ends.append((reason, self._stream and list(self._stream.positions)))


async def test_a_revocation_is_applied_before_what_is_delivered_with_it(rows, follower):
    stream = Listening(feed_of(follower, [1]))
    ended, other = Open(follower, "user:7", stream=stream), Open(follower, "user:8")
    rows.publish(1)
    rows.publish(2, NO_CHANNEL, REVOKE, '["user:7"]')
    rows.publish(3)
    await follower._look()
    assert ended.ends == [("revoked", [])]
    assert other.ends == []
    assert stream.positions == [1, 3]
    late = Open(follower, "user:7")
    follower._revocations.catch_up(late, 2)
    assert late.ends == []
    follower._revocations.catch_up(late, 1)
    assert late.ends == [("revoked", None)]


async def test_revocations_are_applied_also_where_entries_were_removed_unread(
    rows, follower, monkeypatch
):
    ended = [Open(follower, f"user:{position}") for position in (1, 2, 3)]
    rows.trimmed = 1
    monkeypatch.setattr(follower_module, "LIVE_ROWS", 1)
    for position in (1, 2, 3):
        rows.publish(position, NO_CHANNEL, REVOKE, f'["user:{position}"]')
    rows.publish(4)
    await follower._look()
    assert [each.ends for each in ended] == [[("revoked", None)]] * 3
    assert follower.position == 4


async def test_revocations_after_the_head_that_was_read_are_applied_once(rows, follower):
    feed_of(follower, [1])
    late = Open(follower, "user:2")
    rows.publish(1)
    rows.trimmed, look = 1, rows.look

    def look_and_publish(known, channels, limit):
        # The second look is the one for notices: its head is later than the first one's.
        if channels == {NO_CHANNEL} and rows.head == 1:
            rows.publish(2, NO_CHANNEL, REVOKE, '["user:2"]')
        return look(known, channels, limit)

    rows.look = look_and_publish
    await follower._look()
    assert (follower.position, late.ends) == (1, [])
    await follower._look()
    assert (follower.position, late.ends) == (2, [("revoked", None)])


async def test_another_history_is_noticed_also_by_the_read_of_the_notices(rows):
    follower, changes = follower_of(rows)
    await follower.start()
    stream = Listening(feed_of(follower, [1]))
    rows.publish(1)
    rows.trimmed, look = 1, rows.look

    def look_in_another_database(known, channels, limit):
        rows.is_same = channels != {NO_CHANNEL}
        return look(known, channels, limit)

    rows.look = look_in_another_database
    await follower._look()
    assert follower.position == 2**40
    assert len(changes) == 1
    assert stream.positions == []
