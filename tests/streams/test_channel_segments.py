"""Each channel's chain: what is passed on alone is delivered once, in order, and not read."""

import asyncio
import os
import random
from types import SimpleNamespace

import pytest

from eric_sse_django.database.queue import DatabaseQueue
from eric_sse_django.entry import NO_CHANNEL, RESET, REVOKE, STOP
from eric_sse_django.hub import chains
from eric_sse_django.hub.chains import Chains
from eric_sse_django.hub.feed import Feed, Feeds
from eric_sse_django.hub.follower import MAX_CHANNEL_SEGMENTS, MAX_SEGMENTS
from eric_sse_django.log import number_of
from eric_sse_django.models import Channel, Listener
from eric_sse_django.notifier.window import Window
from eric_sse_django.streaming import stream as stream_module
from eric_sse_django.streaming.reader import Reader
from tests.streams import passing
from tests.streams.channel_chaos import ChannelChaos
from tests.streams.memory import MemoryRecords
from tests.streams.passing import (
    TIMEOUT_S,
    client,
    draft,
    hub_of,
    live,
    received,
    sequenced,
    until,
)

hub, memory = passing.hub, passing.memory


@pytest.fixture
def elsewhere(memory):
    """What another process sequences, as it places it."""
    window = Window(memory)
    return lambda *drafts: window.place(sequenced(memory, *drafts))


@pytest.fixture
def parts(elsewhere):
    """The segments of each channel, of what another process sequences."""
    return lambda *drafts: elsewhere(*drafts).by_channel()


def pass_on(hub, parts):
    for part in parts:
        hub.wake(part)


async def test_what_comes_next_in_its_channel_is_delivered_without_a_read(memory, hub, parts):
    async with client(hub) as one, client(hub, 2) as two:
        await live(hub, one)
        await live(hub, two)
        for number in range(3):
            _, of_two = parts(draft(["one", number]), draft(["two", number], channel=2))
            hub.wake(of_two)  # the other one is late
        await received(two, *(["two", number] for number in range(3)))
        assert one.data == []
    assert memory.looks == 0
    assert hub.counters.segments == {"taken": 3}
    assert hub.follower.feeds.by_channel[2][0].reached == memory.head().position
    assert hub.follower.position < memory.head().position


async def test_one_that_comes_twice_is_delivered_once(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        [part] = parts(draft(1))
        for _ in range(3):
            hub.wake(part)
        pass_on(hub, parts(draft(2)))
        await received(one, 1, 2)
    assert memory.looks == 0
    assert hub.counters.segments == {"taken": 2, "known": 2}


async def test_one_whose_entries_are_partly_there_delivers_the_others(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        [first] = parts(draft(1))
        [second] = parts(draft(2), draft(3))
        hub.wake(first)
        both = [*first.entries, *second.entries]
        hub.wake(second._replace(after=first.after, entries=both))
        await received(one, 1, 2, 3)
    assert memory.looks == 0


async def test_if_one_before_it_is_missing_the_log_is_read(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        lost = parts(draft(1))
        pass_on(hub, parts(draft(2)))
        await received(one, 1, 2)
        pass_on(hub, lost)
        pass_on(hub, parts(draft(3)))
        await received(one, 1, 2, 3)
    assert memory.looks == 1
    assert hub.counters.segments == {"looked": 1, "known": 1, "taken": 1}


async def test_one_without_its_entries_is_read_from_the_log(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        [part] = parts(draft(1))
        hub.wake(part._replace(entries=None))
        await received(one, 1)
    assert memory.looks == 1


async def test_one_of_a_channel_without_a_stream_is_passed(memory, hub, parts):
    pass_on(hub, parts(draft(1)))
    await until(lambda: hub.counters.segments == {"passed": 1})
    assert memory.looks == 0


async def test_those_that_wait_are_written_together(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        begun = len(one.chunks)
        for number in range(10):  # the loop has no turn meanwhile
            pass_on(hub, parts(draft(number)))
        await received(one, *range(10))
        assert len(one.chunks) == begun + 1
    assert hub.counters.segments == {"taken": 10}
    assert len(hub.counters._latest_s) == 1


async def test_those_that_come_while_the_log_is_read_wait(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)

        def during():
            memory.before_answer = lambda: None
            pass_on(hub, first)
            pass_on(hub, parts(draft(2)))

        first = parts(draft(1))
        memory.before_answer = during
        hub.wake()
        await received(one, 1, 2)
    assert memory.looks == 1
    assert hub.counters.segments == {"known": 1, "taken": 1}


# What is beside it ------------------------------------------------------------------


async def test_a_look_does_not_deliver_again_what_a_feed_has(memory, hub, parts):
    async with client(hub) as one, client(hub, 2) as two:
        await live(hub, one)
        await live(hub, two)
        of_one, _ = parts(draft(1), draft("two", channel=2))
        hub.wake(of_one)
        await received(one, 1)
        assert hub.follower.feeds.ahead
        delays = len(hub.counters._latest_s)
        parts(draft(2))
        await hub.follower.look()
        await received(one, 1, 2)
        await received(two, "two")
    assert not hub.follower.feeds.ahead
    assert len(hub.counters._latest_s) == delays + 1


async def test_a_look_does_not_read_again_what_a_feed_has(memory, hub, parts):
    """But its last entry, which is compared."""
    async with client(hub) as one, client(hub, 2):
        await live(hub, one)
        pass_on(hub, parts(draft(1), draft(2)))
        pass_on(hub, parts(draft(3)))
        await received(one, 1, 2, 3)
        parts(draft("two", channel=2))
        memory.found.clear()
        await hub.follower.look()
        assert memory.found == [one.ids[2], one.ids[2] + 1]
        async with client(hub, 1, 2):  # it has none of them
            memory.found.clear()
            pass_on(hub, parts(draft(4)))
            await received(one, 1, 2, 3, 4)
            await hub.follower.look()
            assert memory.found == [one.ids[3]]


async def test_what_was_delivered_before_is_no_delay_of_the_look_that_finds_it(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1)))
        await received(one, 1)
        delays = len(hub.counters._latest_s)
        await hub.follower.look()
    assert len(hub.counters._latest_s) == delays


async def test_a_segment_of_the_whole_log_does_not_deliver_it_again_either(memory, hub, elsewhere):
    async with client(hub) as one:
        await live(hub, one)
        segment = elsewhere(draft(1), draft("two", channel=2))
        pass_on(hub, segment.by_channel())
        hub.wake(segment)
        hub.wake(elsewhere(draft(2)))
        await received(one, 1, 2)
    assert memory.looks == 0
    assert hub.follower.position == memory.head().position


async def test_a_segment_that_is_not_next_is_tried_channel_by_channel(memory, hub, elsewhere):
    async with client(hub) as one:
        await live(hub, one)
        elsewhere(draft("two", channel=2))
        hub.wake(elsewhere(draft(1), draft("three", channel=3)))
        hub.wake(elsewhere(draft("four", channel=4)))
        await received(one, 1)
        await until(lambda: hub.counters.segments == {"taken": 1, "passed": 1})
        hub.wake(elsewhere(draft(2))._replace(afters=None))
        await received(one, 1, 2)
    assert memory.looks == 1


async def test_streams_of_several_channels_read_the_log(memory, hub, parts):
    async with client(hub, 1, 2) as both, client(hub) as one:
        await live(hub, both)
        await live(hub, one)
        of_one, of_two = parts(draft("two", channel=2), draft(1))[::-1]
        hub.wake(of_one)
        await received(one, 1)
        await received(both, "two", 1)
        hub.wake(of_two)
        pass_on(hub, parts(draft(2)))
        await received(one, 1, 2)
        await received(both, "two", 1, 2)
    assert memory.looks == 2


async def test_a_stream_that_begins_gets_what_its_feed_has(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        start = hub.follower.position
        pass_on(hub, parts(draft(1), draft(2)))
        await received(one, 1, 2)
        async with client(hub, last_event_id=start) as two:
            await received(two, 1, 2)
            pass_on(hub, parts(draft(3)))
            await received(two, 1, 2, 3)
        assert memory.looks == 0
        async with client(hub, last_event_id=one.ids[1]) as three:
            await received(three, 3)
            pass_on(hub, parts(draft(4)))
            await received(three, 3, 4)
        async with client(hub) as four:
            pass_on(hub, parts(draft(5)))
            await received(four, 5)
    assert hub.counters.from_log == memory.looks == 0


async def test_a_stop_ends_no_stream_that_begins_after_it(memory, hub, parts, monkeypatch):
    monkeypatch.setattr(stream_module, "_all_run", lambda listeners: True)
    start = hub.follower.position
    row = Listener(pk=3, channel=Channel(pk=1), name="l", running=True, start=start, cursor=start)
    hub.records = MemoryRecords(hub, {3: row})
    async with client(hub, listener=row) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1), draft(None, type=STOP, listener=3)))
        assert await one.ended() == "stopped"
        async with client(hub, listener=row) as two:
            pass_on(hub, parts(draft(2)))
            await two.until(lambda: two.data[-1:] == ["2"])
    assert memory.looks == 0


async def test_a_watcher_that_asks_for_nothing_begins_now(memory, hub, elsewhere):
    hub.interest.subscribe(lambda channels: None)
    elsewhere(draft("before"))
    async with client(hub) as one:
        hub.wake(elsewhere(draft("after")))
        await received(one, "after")
    assert memory.looks == 1


async def test_more_wait_than_segments_of_the_log(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        for number in range(MAX_SEGMENTS + 1):  # the loop has no turn meanwhile
            pass_on(hub, parts(draft(number)))
        await received(one, *range(MAX_SEGMENTS + 1))
        assert memory.looks == 0
        for number in range(MAX_CHANNEL_SEGMENTS + 1):
            pass_on(hub, parts(draft(number)))
        await one.count(MAX_SEGMENTS + MAX_CHANNEL_SEGMENTS + 2)
    assert memory.looks == 1


async def test_a_stream_that_falls_back_continues_from_what_it_has(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1)))
        await received(one, 1)
        one.stream.fall_back()
        pass_on(hub, parts(draft(2)))
        await received(one, 1, 2)
        hub.follower._repair()
        hub.follower._skip_to(hub.follower.known)
        await until(one.stream.reader.is_idle)
        pass_on(hub, parts(draft(3)))
        await received(one, 1, 2, 3)


async def test_after_a_failure_its_streams_read_the_log(memory, hub, parts, monkeypatch, caplog):
    async with client(hub) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1)))
        await received(one, 1)

        def fail(self, entries):
            monkeypatch.undo()
            raise RuntimeError("no memory")

        monkeypatch.setattr(Feed, "take", fail)
        pass_on(hub, parts(draft(2)))
        await received(one, 1, 2)
        pass_on(hub, parts(draft(3)))
        await received(one, 1, 2, 3)
    assert "a feed failed" in caplog.text
    assert memory.looks == 0


async def test_a_heartbeat_never_moves_the_id_of_a_client_back(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1)))
        await received(one, 1)
        feed = one.stream.reader.feed
        feed.ring_buffer.clear(feed.reached + 1)
        one.stream.reader.ask_heartbeat()
        await until(lambda: one.reader.comments or one.reader.last_event_id != str(one.ids[0]))
        assert int(one.reader.last_event_id) >= one.ids[0]
        assert one.stream.reader.cursor >= one.ids[0]


async def test_cursors_are_compared_with_the_log_where_streams_have_come_to(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        assert hub.follower.newest == hub.follower.known
        [part] = parts(draft(1))
        hub.wake(part)
        await received(one, 1)
        assert hub.follower.newest == part.known
        assert hub.follower.newest.stamp is not None
        await hub.follower.look()
        assert hub.follower.newest == hub.follower.known == part.known


# Notices, removals, histories -------------------------------------------------------


async def test_a_revocation_is_applied_before_a_message_that_was_published_later(
    memory, hub, parts, monkeypatch
):
    happened = []
    take = Feed.take
    monkeypatch.setattr(Feed, "take", lambda *args: happened.append("message") or take(*args))
    hub.revocations.revoke = lambda position, subjects: happened.append("notice")
    async with client(hub) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1)))
        assert parts(draft(["user:7"], NO_CHANNEL, REVOKE)) == []  # the wake is lost
        pass_on(hub, parts(draft(2)))
        await received(one, 1, 2)
        assert happened == ["message", "notice", "message"]
        pass_on(hub, parts(draft(3)))
        await received(one, 1, 2, 3)
    assert memory.looks == 1


async def test_after_a_removal_of_what_was_not_read_the_log_is_read(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        await removed_before_it_was_read(memory, hub)
        await one.count(3)
        assert [event.type for event in one.events] == ["n", RESET, "n"]


async def removed_before_it_was_read(memory, hub):
    """Remove what a third process has published, before the publisher of the next one reads it."""
    window = Window(memory)
    pass_on(hub, window.place(sequenced(memory, draft(1))).by_channel())
    removed = draft(2)
    removed.kept_s = -3_600.0
    sequenced(memory, removed)
    segment = sequenced(memory, draft(3))
    assert memory.trim() == 1
    pass_on(hub, window.place(segment).by_channel())


@pytest.mark.parametrize("what", ["log", "history"])
async def test_after_one_of_another_log_or_history_the_log_is_read(memory, hub, parts, what):
    async with client(hub) as one:
        await live(hub, one)
        [part] = parts(draft(1))
        known = part.known._replace(log="elsewhere")
        if what == "history":
            known = part.known._replace(position=2 * part.known.position)
            assert number_of(known.position) != number_of(part.known.position)
        hub.wake(part._replace(known=known))
        await received(one, 1)
        pass_on(hub, parts(draft(2)))
        await received(one, 1, 2)
    assert memory.looks == 1


async def test_a_database_that_went_back_behind_a_feed_is_noticed(memory, hub, parts, caplog):
    """The hub knows a position that is still there: only what the feed got shows it."""
    async with client(hub) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1)))
        await received(one, 1)
        went_back(memory)
        sequenced(memory, draft("other"))
        sequenced(memory, draft("another"))
        await hub.follower.look()
        assert await one.ended() == "history"
    assert "the log has another history" in caplog.text
    assert hub.follower.feeds.by_channel[1][0].reached == 0
    assert not hub.follower.feeds.ahead


async def test_a_head_that_is_before_what_a_feed_has_is_of_another_history(memory, hub, parts):
    async with client(hub) as one:
        await live(hub, one)
        pass_on(hub, parts(draft(1), draft(2)))
        await received(one, 1, 2)
        went_back(memory)
        await hub.follower.look()
        assert await one.ended() == "history"
    assert hub.follower.position > one.ids[-1]


async def test_a_segment_from_a_log_that_went_back_is_not_taken(memory, hub, parts, elsewhere):
    async with client(hub) as one:
        await live(hub, one)
        before = memory.follow()
        pass_on(hub, parts(draft(1)))
        await received(one, 1)
        went_back(memory)
        segment = sequenced(memory, draft("other"))
        assert segment.before.position == before.position
        hub.wake(segment)
        assert await one.ended() == "history"


def went_back(memory):
    """Lose all messages, as a failover to a replica that did not have them."""
    [*lost] = memory._entries
    memory._entries.clear()
    memory._by_channel.clear()
    memory._known = memory._known._replace(position=lost[0].position - 1, stamp=None)


# What is needed ---------------------------------------------------------------------


async def test_what_watches_a_queue_is_called_for_its_channel(memory, hub, parts):
    woken = []
    hub.add_waker(lambda: woken.append("one"), 1)
    undo = hub.add_waker(lambda: woken.append("again"), 1)
    hub.add_waker(lambda: woken.append("two"), 2)
    hub.add_waker(lambda: woken.append("all"))
    pass_on(hub, parts(draft(1)))
    await until(lambda: len(woken) == 2)
    assert woken == ["one", "again"]
    undo()
    undo()
    pass_on(hub, parts(draft(2)))
    await until(lambda: len(woken) == 3)
    await hub.follower.look()
    assert woken[3:] == ["one", "two", "all"]


async def test_a_hub_needs_the_channels_of_its_feeds_and_of_watched_queues(memory, hub):
    wanted = []
    hub.interest.subscribe(wanted.append)
    assert wanted == [frozenset()]
    undo = hub.add_waker(lambda: None, 7)
    async with client(hub, 1), client(hub, 1, 2), client(hub, 2):
        await until(lambda: wanted[-1] == {1, 2, 7})
        undo()
        await until(lambda: wanted[-1] == {1, 2})
        assert len(wanted) <= 4  # what changes together is one call
    hub.follower.feeds.forget_quiet(float("inf"))
    await until(lambda: wanted[-1] == set())
    hub.interest.subscribe(None)
    hub.add_waker(lambda: None, 7)
    assert hub.interest.channels() == {7}
    assert wanted[-1] == set()


async def test_nothing_is_called_while_the_channels_stay_the_same(hub):
    hub.interest.subscribe(lambda channels: None)
    calls = []
    async with client(hub, 1):
        hub.interest.subscribe(calls.append)
        async with client(hub, 1):
            undo = hub.add_waker(lambda: None)
            undo()
        hub.follower.feeds.forget_quiet(0.0)
        await asyncio.sleep(0)
    assert calls == [{1}]


async def test_a_watched_queue_gives_its_channel(hub, monkeypatch):
    monkeypatch.setattr("eric_sse_django.database.queue.Hub.for_running_loop", lambda: hub)
    queue = DatabaseQueue(Listener(channel=Channel(pk=5)))
    undo = queue.watch(lambda: None)
    assert hub.interest.channels() == {5}
    undo()
    assert hub.interest.channels() == set()


# Chaos ------------------------------------------------------------------------------


async def chaos(memory, hub, seed, patience_s=TIMEOUT_S):
    return await ChannelChaos(memory, hub, random.Random(seed), patience_s).run()


# As many more as are asked for: ERIC_SSE_TEST_FUZZ=1000.
SEEDS = int(os.environ.get("ERIC_SSE_TEST_FUZZ", 12))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_happens_to_segments_streams_get_each_message_once(memory, hub, seed):
    assert await chaos(memory, hub, seed) == []
    assert {"looked", "known"} <= set(hub.counters.segments)


# Each guard, removed ----------------------------------------------------------------

# What continues() is called with instead.
UNGUARDED = {
    "the messages between": lambda part, *rest: (part._replace(after=0), *rest),
    "the notices between": lambda part, *rest: (part._replace(notices=0), *rest),
    "the log": lambda part, feed, have, known: (part, feed, have, known._replace(log="")),
    "several channels": lambda part, feed, *rest: (part, SimpleNamespace(named=False), *rest),
}


async def goes_wrong(memory, settings):
    """Whether one of a few chaotic runs does."""
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 60}
    for seed in range(40):
        memory.__init__()
        async with hub_of(memory) as hub:
            if await chaos(memory, hub, seed, patience_s=0.05):
                return True
    return False


@pytest.mark.parametrize("guard", UNGUARDED)
async def test_without_a_comparison_it_would_be_wrong(memory, settings, monkeypatch, guard):
    change, guarded = UNGUARDED[guard], chains.continues
    monkeypatch.setattr(chains, "continues", lambda *args: guarded(*change(*args)))
    assert await goes_wrong(memory, settings)


async def test_without_a_comparison_of_what_was_removed_it_would_be_wrong(
    memory, hub, monkeypatch
):
    guarded = chains.continues

    def continues(part, *rest):
        return guarded(part._replace(known=part.known._replace(trimmed=0)), *rest)

    monkeypatch.setattr(chains, "continues", continues)
    async with client(hub) as one:
        await live(hub, one)
        await removed_before_it_was_read(memory, hub)
        await one.count(2)
        await hub.follower.look()
        await until(one.stream.reader.is_idle)
        assert [event.type for event in one.events] == ["n", "n"]


async def test_without_the_comparison_of_histories_it_would_be_wrong(
    memory, settings, monkeypatch
):
    monkeypatch.setattr(chains, "number_of", lambda position: 0)
    assert await goes_wrong(memory, settings)


async def test_without_the_read_for_missing_entries_it_would_be_wrong(
    memory, settings, monkeypatch
):
    share = Chains._share

    def emptied(self, part, known, shares):
        return share(self, part._replace(entries=part.entries or []), known, shares)

    monkeypatch.setattr(Chains, "_share", emptied)
    assert await goes_wrong(memory, settings)


async def test_if_nobody_noted_how_far_a_feed_is_it_would_be_wrong(memory, settings, monkeypatch):
    monkeypatch.setattr(Feeds, "reach", lambda self, feed, known: None)
    assert await goes_wrong(memory, settings)


async def test_if_looks_delivered_what_a_feed_has_it_would_be_wrong(memory, settings, monkeypatch):
    def reach(self, feed, known):
        feed.reached = known.position

    monkeypatch.setattr(Feeds, "reach", reach)
    assert await goes_wrong(memory, settings)


async def test_if_streams_read_up_to_the_hubs_position_it_would_be_wrong(
    memory, settings, monkeypatch
):
    monkeypatch.setattr(Reader, "head", lambda self: self._hub.follower.known.position)
    assert await goes_wrong(memory, settings)


async def test_if_an_emptied_feed_began_at_the_hubs_position_it_would_be_wrong(
    memory, settings, monkeypatch
):
    def skip_to(self, position):
        self.ring_buffer.clear(position)
        for stream in tuple(self.streams):
            stream.fall_back()

    monkeypatch.setattr(Feed, "skip_to", skip_to)
    assert await goes_wrong(memory, settings)
