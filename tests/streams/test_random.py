"""Publishes, streams that come and go, stalls and fall-backs, in an order of chance."""

import asyncio
import random

import pytest

from eric_sse_django.message import Message


class Chaos:
    """What may happen, one act at a time; `expected` is what each listener is to see."""

    def __init__(self, site, listeners, chance):
        self.site, self.listeners, self.chance = site, listeners, chance
        self.expected = {listener.pk: [] for listener in listeners}
        self.readers = []
        self.number = 0

    async def publish(self):
        for _ in range(self.chance.randint(1, 6)):
            self.number += 1
            chosen = self.listeners
            if self.chance.random() < 0.5:
                await self.site.publish(self.number)
            else:
                chosen = [self.chance.choice(self.listeners)]
                await self.site.channel.adispatch(chosen[0].name, Message("n", self.number))
            for listener in chosen:
                self.expected[listener.pk].append(str(self.number))

    async def come(self):
        listener = self.chance.choice(self.listeners)
        self.readers.append((listener.pk, await self.site.read(listener, last_event_id=0)))

    async def stall(self):
        for _, reader in self.chance.sample(self.readers, min(3, len(self.readers))):
            reader.open.clear()

    async def flow(self):
        for _, reader in self.readers:
            reader.open.set()

    async def fall_back(self):
        for _, reader in self.chance.sample(self.readers, min(1, len(self.readers))):
            reader.stream.fall_back()

    async def go_blind(self):
        self.site.hub.tail._looked_at -= 1_000

    async def breathe(self):
        await asyncio.sleep(0.002)

    async def act(self):
        acts = [self.publish] * 3 + [self.come, self.stall, self.flow]
        await self.chance.choice([*acts, self.fall_back, self.go_blind, self.breathe])()


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_each_stream_sees_its_messages_once_and_in_order(
    site, settings, seed
):
    chance = random.Random(seed)
    settings.ERIC_SSE = {
        "STREAM_BUFFER_MESSAGES": chance.choice([1, 4, 1_000]),
        "STREAM_BUFFER_BYTES": chance.choice([60, 100_000]),
        "RING_MESSAGES": chance.choice([0, 3, 500]),
    }
    chaos = Chaos(site, [await site.listener() for _ in range(3)], chance)
    for _ in range(60):
        await chaos.act()
    await chaos.flow()
    await site.at_head()
    assert chaos.readers
    for listener, reader in chaos.readers:
        await reader.count(len(chaos.expected[listener]))
        assert reader.data == chaos.expected[listener]
        assert reader.ids == sorted(set(reader.ids))
        assert reader.reader.ignored == []
