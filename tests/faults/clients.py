"""Clients that listen all the time, and reconnect to whichever server answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

from tests.event_source import EventSourceClient
from tests.faults.tally import Tally

# Of a proxy while no server answers: an EventSource would not reconnect, a client that is written
# for it does.
NO_SERVER = (502, 504)


class WanderingClient(EventSourceClient):
    """An EventSource behind a load balancer: each connection goes to the next server."""

    def __init__(self, urls: Sequence[str], tally: Tally, listener: str | None = None) -> None:
        """`listener` is the id of the listener in its path, None for a watcher."""
        super().__init__(urls[0])
        self.listener = listener
        self.records = tally  # type: ignore[assignment]
        self.tally = tally
        self._urls: Iterable[str] = itertools.cycle(urls)

    @property
    def begun(self) -> bool:
        """Whether it has the id at which its stream begins: it misses nothing after it."""
        return bool(self.stream and self.stream.reader.last_event_id)

    @property
    def is_open(self) -> bool:
        """Whether it has a connection now."""
        return self.stream is not None and not self.stream.ended

    async def _connect(self) -> None:
        self.url = next(iter(self._urls))
        await super()._connect()
        if self.closed and self.statuses[-1] in NO_SERVER:
            self.closed = False


async def listening(
    stack: AsyncExitStack, clients: Sequence[WanderingClient], timeout_s: float = 30.0
) -> None:
    """Start the clients, and return when each has received the id at which its stream begins."""
    for client in clients:
        await stack.enter_async_context(client)

    async def all_have_begun() -> None:
        while not all(client.begun for client in clients):
            await asyncio.sleep(0.05)

    await asyncio.wait_for(all_have_begun(), timeout_s)
