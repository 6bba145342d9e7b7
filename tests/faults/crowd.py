"""Many clients of one channel, and what they should have received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.faults.clients import WanderingClient, listening
from tests.faults.tally import Tally


async def crowd(
    stack: AsyncExitStack, url: str, count: int, timeout_s: float = 60.0
) -> list[WanderingClient]:
    """Return `count` clients of one stream's URL, whose streams have begun."""
    meaning: dict[int, str] = {}
    clients = [WanderingClient([url], Tally(meaning)) for _ in range(count)]
    for first in range(0, count, 100):  # the listening socket's queue is finite
        await listening(stack, clients[first : first + 100], timeout_s)
    return clients


async def all_have(clients: Sequence[WanderingClient], count: int, timeout_s: float) -> None:
    """Return when each client has `count` messages. Raises asyncio.TimeoutError."""

    async def wait() -> None:
        while not all(len(client.tally) >= count for client in clients):
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), timeout_s)


@asynccontextmanager
async def publishing(channel: DatabaseChannel, rate: float) -> AsyncIterator[list[int]]:
    """Broadcast the numbers 0, 1, … to a channel, `rate` a second; yield their count, [count]."""
    count, stop = [0], asyncio.Event()

    async def publish() -> None:
        while not stop.is_set():
            await channel.abroadcast(Message("number", count[0]))
            count[0] += 1
            await asyncio.sleep(1 / rate)

    task = asyncio.create_task(publish())
    try:
        yield count
    finally:
        stop.set()
        await task


def assert_numbers(clients: Sequence[WanderingClient], count: int) -> None:
    """Assert that each got all numbers from 0 on, in order, and repeats only with the same id."""
    wanted = [f"number: {number}" for number in range(count)]
    for client in clients:
        assert not client.tally.wrong
        assert client.tally.keys() == wanted
