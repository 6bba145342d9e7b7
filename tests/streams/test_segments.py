"""What was sequenced is passed on: nothing is lost, repeated or out of order, and nothing read."""

import asyncio
import contextlib
import json
import random
import time

import pytest

from eric_sse_django.entry import NO_CHANNEL, RESET, REVOKE
from eric_sse_django.hub import follower as follower_module
from eric_sse_django.hub.follower import Follower
from tests.streams import passing
from tests.streams.passing import (
    TIMEOUT_S,
    client,
    draft,
    live,
    received,
    sequenced,
    until,
)

hub, memory = passing.hub, passing.memory


async def test_what_comes_next_is_delivered_without_a_read(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        for number in range(5):
            hub.wake(sequenced(memory, draft(number)))
        await received(one, *range(5))
    assert memory.looks == 0
    assert hub.counters.segments == {"taken": 5}
    assert hub.follower.known[:2] == memory.follow()[:2]


async def test_messages_of_channels_without_a_stream_are_passed(memory, hub):
    segments = [sequenced(memory, draft(number, channel=2)) for number in range(3)]
    for segment in segments:
        hub.wake(segment._replace(entries=None))
    await until(lambda: hub.follower.position == segments[-1].known.position)
    assert memory.looks == 0
    assert hub.counters.segments == {"passed": 3}


async def test_one_without_its_entries_is_read_from_the_log(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        hub.wake(sequenced(memory, draft(1))._replace(entries=None))
        await received(one, 1)
    assert memory.looks == 1
    assert hub.counters.segments == {"looked": 1}


async def test_one_that_is_not_next_is_read_from_the_log_with_what_is_before_it(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        lost = sequenced(memory, draft(1))
        hub.wake(sequenced(memory, draft(2)))
        await received(one, 1, 2)
        hub.wake(lost)
        hub.wake(sequenced(memory, draft(3)))
        await received(one, 1, 2, 3)


async def test_one_that_comes_twice_is_delivered_once(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        segment = sequenced(memory, draft(1))
        for _ in range(3):
            hub.wake(segment)
        hub.wake(sequenced(memory, draft(2)))
        await received(one, 1, 2)
    assert memory.looks == 0
    assert hub.counters.segments == {"taken": 2, "known": 2}


async def test_what_comes_while_the_log_is_read_is_not_delivered_twice(memory, hub):
    async with client(hub) as one:
        await live(hub, one)

        def next_ones():
            memory.before_answer = lambda: None
            hub.wake(first)
            hub.wake(sequenced(memory, draft(2)))

        first = sequenced(memory, draft(1))
        memory.before_answer = next_ones
        hub.wake()
        await received(one, 1, 2)
        hub.wake(sequenced(memory, draft(3)))
        await received(one, 1, 2, 3)
    assert memory.looks == 1


async def test_when_too_many_wait_the_log_is_read(memory, hub, monkeypatch):
    monkeypatch.setattr(follower_module, "MAX_SEGMENTS", 2)
    async with client(hub) as one:
        await live(hub, one)
        for number in range(10):  # the loop has no turn meanwhile
            hub.wake(sequenced(memory, draft(number)))
        assert len(hub.follower._segments) == 2
        await received(one, *range(10))
    assert memory.looks == 1


async def test_streams_write_between_the_segments_that_have_waited(memory, hub):
    """As between two reads: the buffers of all streams would overflow, and each read the log."""
    async with client(hub) as reader:
        reader.writes_at_once = False
        await live(hub, reader)
        for _ in range(30):  # the loop has no turn meanwhile
            hub.wake(sequenced(memory, *map(draft, range(100))))
        await reader.count(3_000)
    assert hub.counters.lagging == 0
    assert memory.looks == 0


async def test_those_that_wait_are_written_together(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        begun = len(one.chunks)
        for number in range(10):  # the loop has no turn meanwhile
            hub.wake(sequenced(memory, draft(number)))
        await received(one, *range(10))
        assert len(one.chunks) == begun + 1
    assert hub.counters.segments == {"taken": 10}


async def test_what_comes_after_a_long_delivery_is_written_together(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        begun = len(one.chunks)
        hub.follower._rest(1.0)  # as after a delivery that took a second
        for number in range(3):
            hub.wake(sequenced(memory, draft(number)))
            await asyncio.sleep(0)
        assert len(one.chunks) == begun
        await received(one, 0, 1, 2)
        assert len(one.chunks) == begun + 1


async def test_a_stream_that_has_just_begun_gets_it(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        async with client(hub, 2) as two:
            await until(lambda: two.stream.reader.is_idle())
            hub.wake(sequenced(memory, draft(1), draft("two", channel=2)))
            await received(one, 1)
            await received(two, "two")


async def test_a_notice_is_never_passed(memory, hub):
    applied = []
    hub.revocations.revoke = lambda position, subjects: applied.append((position, subjects))
    subjects = [["user", "7"]]
    segment = sequenced(memory, draft(subjects, NO_CHANNEL, REVOKE))
    hub.wake(segment._replace(entries=None))
    await until(lambda: applied)
    hub.wake(sequenced(memory, draft(subjects, NO_CHANNEL, REVOKE)))
    await until(lambda: len(applied) == 2)
    assert memory.looks == 1


async def test_what_is_passed_on_does_not_hide_a_reset_that_is_later_in_the_log(memory, hub):
    old = [draft(number) for number in (1, 3)]
    for each in old:
        each.kept_s = -3_600.0
    start = hub.follower.position
    hub.wake(sequenced(memory, old[0], draft(2)))
    await hub.follower.look()
    late = sequenced(memory, old[1])
    assert memory.trim() == 2
    async with client(hub, last_event_id=start) as one:
        await received(one, 2)
        await until(one.stream.reader.is_idle)
        hub.wake(late)
        await one.count(2)
        hub.wake(sequenced(memory, draft(4)))
        await one.count(3)
        assert [event.type for event in one.events] == ["n", RESET, "n"]
        assert one.ids[1] == late.known.position


async def test_after_one_of_another_history_the_log_is_read(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        hub.wake(sequenced(memory, draft(1)))
        await received(one, 1)
        segment = sequenced(memory, draft(2))
        restored = segment.before._replace(stamp=segment.before.stamp + 1)
        hub.wake(segment._replace(before=restored))
        await received(one, 1, 2)
    assert memory.looks == 1


async def test_one_that_fails_halfway_is_read_again(memory, hub, monkeypatch, caplog):
    async with client(hub) as one:
        await live(hub, one)

        def share(entries):
            monkeypatch.undo()
            raise RuntimeError("no memory")

        monkeypatch.setattr(hub.follower.feeds, "share", share)
        hub.wake(sequenced(memory, draft(1)))
        await received(one, 1)
        hub.wake(sequenced(memory, draft(2)))
        await received(one, 1, 2)
    assert "a segment could not be delivered" in caplog.text


# Chaos ------------------------------------------------------------------------------


class Fabric:
    """Passes segments on late, twice, out of order, without their entries, or not at all."""

    def __init__(self, chance, hub):
        self.chance, self.hub, self.wake = chance, hub, hub.wake
        self.kept = []

    def carry(self, segment):
        for _ in range(self.chance.choice((0, 1, 1, 1, 1, 2, 3))):
            stripped = segment._replace(entries=None)
            self.kept.append(stripped if self.chance.random() < 0.2 else segment)
        if self.chance.random() < 0.3:
            self.chance.shuffle(self.kept)
        while self.kept and self.chance.random() < 0.7:
            self.wake(self.kept.pop(0))

    def rest(self):
        for segment in self.kept:
            self.wake(segment)
        self.hub.wake()


class Chaos:
    """Streams of two channels come and go while messages of three are published."""

    def __init__(self, memory, hub, seed, patience_s):
        self.memory, self.hub, self.chance = memory, hub, random.Random(seed)
        self.patience_s = patience_s
        self.fabric = Fabric(self.chance, hub)
        self.clients, self.wrong = [], []

    async def run(self):
        """Return what was wrong with what the streams got."""
        for number in range(150):
            if len(self.clients) < 6 and self.chance.random() < 0.1:
                await self.begin()
            self.memory.append([draft(number, self.chance.choice((1, 2, 3)))])
            if self.chance.random() < 0.8:
                # A rival passes nothing on.
                self.memory.sequence(self.fabric.carry if self.chance.random() < 0.8 else None)
            if self.chance.random() < 0.3:
                await asyncio.sleep(self.chance.choice((0, 0, 0.001)))
            if self.clients and self.chance.random() < 0.05:
                await self.end(self.clients.pop(self.chance.randrange(len(self.clients))))
        self.memory.sequence(self.fabric.carry)
        for each in self.clients:
            await self.end(each)
        return self.wrong

    async def begin(self):
        channels, start = self.chance.choice(((1,), (2,), (1, 2))), self.hub.follower.position
        one = client(self.hub, *channels, last_event_id=start)
        await one.__aenter__()
        self.clients.append((one, channels, start))

    async def end(self, begun):
        one, channels, start = begun
        self.fabric.rest()
        expected = [
            int(entry.payload)
            for entry in self.memory._entries
            if entry.channel in channels and entry.position > start
        ]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(one.count(len(expected)), self.patience_s)
        got = list(map(json.loads, one.data))
        if got != expected:
            self.wrong.append((got, expected))
        await one.__aexit__()


async def chaos(memory, hub, seed, patience_s=TIMEOUT_S):
    return await Chaos(memory, hub, seed, patience_s).run()


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_to_segments_streams_get_each_message_once(memory, hub, seed):
    assert await chaos(memory, hub, seed) == []
    assert {"taken", "looked"} <= set(hub.counters.segments)


# Each guard, removed ----------------------------------------------------------------


async def test_without_the_comparison_of_positions_it_would_be_wrong(memory, hub, monkeypatch):
    monkeypatch.setattr(follower_module, "is_next", lambda segment, known: True)
    assert await chaos(memory, hub, 0, patience_s=0.05) != []


async def test_without_the_read_for_missing_entries_it_would_be_wrong(memory, hub, monkeypatch):
    take = hub.follower._take
    monkeypatch.setattr(
        hub.follower, "_take", lambda it: take(it._replace(entries=it.entries or []))
    )
    assert await chaos(memory, hub, 0, patience_s=0.05) != []


async def test_without_the_wait_for_a_read_it_would_be_wrong(memory, hub, monkeypatch):
    monkeypatch.setattr(
        Follower,
        "_is_looking",
        property(lambda self: False, lambda self, value: None),
        raising=False,
    )
    async with client(hub) as one:
        await live(hub, one)
        first = sequenced(memory, draft(1))
        memory.before_answer = lambda: taken_during(hub, first)
        hub.wake()
        await one.count(2)
    assert one.data == ["1", "1"]


def taken_during(hub, segment):
    """On the thread of a look: pass on what it has found, and wait until that was delivered."""
    hub.follower._log.before_answer = lambda: None
    hub.wake(segment)
    deadline = time.monotonic() + TIMEOUT_S
    while hub.follower.position != segment.known.position and time.monotonic() < deadline:
        time.sleep(0.001)
