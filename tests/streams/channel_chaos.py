"""Whatever may happen to the segments of channels, while streams come and go."""

import asyncio
import contextlib
import json
from dataclasses import replace

from eric_sse_django.entry import NO_CHANNEL, RESET, REVOKE, Entry
from eric_sse_django.log.history import POSITION_BITS
from eric_sse_django.notifier.window import Window
from tests.streams.passing import TIMEOUT_S, client, draft
from tests.streams.reading import Reader

MESSAGES = 150
CHANNELS = (1, 2, 3)
STEP_S = 0.001


class Checking(Reader):
    """Notes each message that came before a notice that was published earlier was applied."""

    def __init__(self, stream, channel, chaos):
        super().__init__(stream, channel)
        self.chaos = chaos

    def _note(self):
        for position in self.ids[-1:]:
            owed = [at for at in self.chaos.notices if self.chaos.start < at < position]
            if not set(owed) <= self.chaos.applied:
                self.chaos.wrong.append(("not revoked", position, owed))

    async def _write(self, chunk, more):
        await super()._write(chunk, more)
        self._note()

    def _write_at_once(self, chunk):
        written = super()._write_at_once(chunk)
        self._note()
        return written


class RoutingFabric:
    """
    Carries the segments of channels that the hub wants: late, twice, out of order, or not at all.

    Some have lost their entries, and some are of another log or history.
    """

    def __init__(self, chance, hub):
        self.chance, self.hub = chance, hub
        self.kept = []

    def carry(self, segment):
        parts = segment.by_channel()
        if not parts and self.chance.random() < 0.7:
            self.hub.wake()  # as a wake for all processes
        for part in parts:
            if part.channel in self.hub.interest.channels():
                for _ in range(self.chance.choice((0, *[1] * 17, 2, 3))):
                    self.kept.append(self.changed(part))
        if self.chance.random() < 0.05:
            self.chance.shuffle(self.kept)
        while self.kept and self.chance.random() < 0.8:
            self.hub.wake(self.kept.pop(0))

    def changed(self, part):
        chance = self.chance.random()
        if chance < 0.03:
            return part._replace(entries=None)
        if chance < 0.05:  # of a copy of the database
            return self.forged(part, part.known.position + 3, log="elsewhere")
        if chance < 0.07:  # of a history that has not begun
            return self.forged(part, part.known.position + (1 << POSITION_BITS))
        return part

    def forged(self, part, position, **known):
        entry = Entry(position, part.channel, None, None, "n", '"forged"')
        known = part.known._replace(position=position, stamp=None, **known)
        return part._replace(after=0, known=known, entries=[entry])

    def rest(self):
        for segment in self.kept:
            self.hub.wake(segment)
        self.hub.wake()


class ChannelChaos:
    """One run: three processes publish to three channels, and a hub serves streams of two."""

    def __init__(self, memory, hub, chance, patience_s=TIMEOUT_S):
        self.memory, self.hub, self.chance, self.patience_s = memory, hub, chance, patience_s
        self.fabric = RoutingFabric(chance, hub)
        self.own, self.other = Window(memory), Window(memory)
        self.start = hub.follower.position
        self.published, self.notices, self.applied = {}, [], set()
        self.clients, self.wrong = [], []
        # Where there is a stream of both, each segment of these is read from the log.
        self.kinds = [(1,), (2,)] if chance.random() < 0.7 else [(1,), (2,), (1, 2)]
        hub.revocations.revoke = lambda position, subjects: self.applied.add(position)
        hub.interest.subscribe(lambda channels: None)

    async def run(self):
        """Return what was wrong with what the streams got."""
        await self.begin()
        for number in range(MESSAGES):
            if len(self.clients) < 6 and self.chance.random() < 0.15:
                await self.begin()
            self.publish(number)
            if self.chance.random() < 0.8:
                self.sequence()
            self.disturb()
            if self.chance.random() < 0.4:
                await asyncio.sleep(self.chance.choice((0, 0, 0, STEP_S)))
            if self.clients and self.chance.random() < 0.05:
                await self.end(self.clients.pop(self.chance.randrange(len(self.clients))))
        self.sequence()
        for each in self.clients:
            await self.end(each)
        return self.wrong

    # What happens -----------------------------------------------------------------

    def publish(self, number):
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            message = draft(number, self.chance.choice(CHANNELS))
            if self.chance.random() < 0.02:
                message.kept_s = -3_600.0  # the next trim removes it
            if self.chance.random() < 0.02:
                message = draft(["user:1"], NO_CHANNEL, REVOKE)
            self.memory.append([message])

    def sequence(self):
        """By this process, by another one, or by one that passes nothing on."""
        act = self.chance.choice(("own", *["other"] * 6, "nobody"))
        if act == "nobody" and self.chance.random() < 0.2:  # of what is removed soon
            self.memory.append([replace(draft(0, 1), kept_s=-3_600.0)])
        segments = []
        self.memory.sequence(segments.append)
        for segment in segments:
            for entry in segment.entries:
                self.published[entry.position] = entry
                if entry.channel == NO_CHANNEL:
                    self.notices.append(entry.position)
            if act == "own":
                self.hub.wake(self.own.place(segment))
            elif act == "other":
                if self.chance.random() < 0.1:
                    self.memory.trim()  # after the head was read
                self.fabric.carry(self.other.place(segment))

    def disturb(self):
        chance = self.chance.random()
        feeds = list(self.hub.follower.feeds)
        if chance < 0.02:
            self.memory.trim()
        elif chance < 0.04:
            self.hub.wake()
        elif chance < 0.12 and feeds:  # as after a failure
            self.chance.choice(feeds).skip_to(self.hub.follower.position)
        elif chance < 0.16 and self.clients:
            self.chance.choice(self.clients)[0].stream.fall_back()
        elif chance < 0.18:
            self.hub.follower.feeds.forget_quiet(float("inf"))

    # Streams ----------------------------------------------------------------------

    async def begin(self):
        channels = self.chance.choice(self.kinds)
        known = sorted(self.published)
        asked = self.chance.choice([self.hub.follower.position, *known[-3:], *known[-30:-20]])
        plain = client(self.hub, *channels, last_event_id=asked)
        one = Checking(plain.stream, plain.channel, self)
        one.writes_at_once = self.chance.random() < 0.7
        await one.__aenter__()
        start = max(each.after for each in one.stream.subscriptions)
        self.clients.append((one, channels, start))

    async def end(self, begun):
        one, channels, start = begun
        self.fabric.rest()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(
                one.until(lambda: one.task.done() or not self.owed(one, channels, start)),
                self.patience_s,
            )
        if one.task.done():
            self.wrong.append(("ended", one.stream.reason))
        self.check(one, channels, start)
        await one.__aexit__()

    def owed(self, one, channels, start):
        """Return the positions of which a client has neither the message nor its loss."""
        got = set(one.ids)
        resets = [int(each.last_event_id) for each in one.events if each.type.endswith(RESET)]
        there = {entry.position for entry in self.memory._entries}
        return [
            position
            for position, entry in self.published.items()
            if position > start and entry.channel in channels and position not in got
            if position in there or not any(reset >= position for reset in resets)
        ]

    def check(self, one, channels, start):
        if owed := self.owed(one, channels, start):
            self.wrong.append(("lost", channels, owed))
        if one.ids != sorted(set(one.ids)):
            self.wrong.append(("twice, or in another order", one.ids))
        for event in one.events:
            if not event.type.endswith(RESET):
                entry = self.published.get(int(event.last_event_id))
                if entry is None or json.loads(event.data) != json.loads(entry.payload):
                    self.wrong.append(("forged", event))
