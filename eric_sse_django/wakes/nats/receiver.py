"""Receiving from NATS what is for all processes, and for the channels that are wanted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeAlias

from eric_sse_django.cancelling import within
from eric_sse_django.wakes.fabric import OnMessage
from eric_sse_django.wakes.nats.protocol import Site, decoded

# Seconds for subscribing: nats-py takes 0.3 s for 20,000 channels.
SUBSCRIBE_S = 5.0
# Seconds between two pings, and for the answer: a loop may be busy for a while.
PING_S = 5.0
ANSWER_S = 3.0
# Seconds between two changes of the subscriptions: what is wanted meanwhile shares one ping, and
# one read of the log.
BATCH_S = 0.05
# Subscriptions in one turn of the loop: 1 ms.
TURN = 100

OnData: TypeAlias = "Callable[[bytes], None]"


class Connection(Protocol):
    """A connection to one server. Each failure ends it."""

    def check(self) -> None:
        """Raise if it has ended, or the server reported an error."""

    def end(self, error: Exception) -> None:
        """End it with an error, which check() raises."""

    async def subscribe(self, subject: str) -> Any:
        """Receive a subject; return what unsubscribe() takes."""

    async def unsubscribe(self, subscription: Any) -> None:
        """Stop that."""

    async def verify(self, timeout_s: float) -> None:
        """Wait until the server has read all that was sent; raise if it does not, or has gone."""

    async def close(self) -> None:
        """Close it, within a second; raises nothing."""


# Connects to any server of a site; calls on_data with each message, and on_end once it has ended.
Connect: TypeAlias = "Callable[[Site, OnData, Callable[[], None]], Awaitable[Connection]]"


class NatsReceiver:
    """Subscribes to the subjects of a site that are wanted, over what `connect` returns."""

    def __init__(self, site: Site, connect: Connect) -> None:
        self._site, self._connect = site, connect
        self._wanted: AbstractSet[int] = frozenset()
        self._subscriptions: dict[int, Any] = {}
        self._changed = asyncio.Event()
        self._connection: Connection | None = None

    def want(self, channels: AbstractSet[int]) -> None:
        self._wanted = channels
        self._changed.set()

    async def receive(self, on_message: OnMessage, on_doubt: Callable[[], None]) -> None:
        def on_data(data: bytes) -> None:
            try:
                on_message(decoded(data))
            except Exception as error:  # noqa: BLE001 - check() raises it
                if self._connection is not None:
                    self._connection.end(error)

        self._connection = await self._connect(self._site, on_data, self._changed.set)
        try:
            await self._follow(self._connection, on_doubt)
        finally:
            await self.close()

    async def close(self) -> None:
        closing, self._connection = self._connection, None
        if closing is not None:
            await closing.close()

    async def _follow(self, connection: Connection, on_doubt: Callable[[], None]) -> None:
        """Subscribe to what is wanted from time to time, and ping, until something fails."""
        await connection.subscribe(self._site.subject_of(None))
        is_new = True
        while True:
            self._changed.clear()
            connection.check()
            is_new |= await within(SUBSCRIBE_S, self._adapt(connection))
            if is_new:
                on_doubt()  # for what was published before this
                is_new = False
            await asyncio.sleep(BATCH_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(PING_S, self._changed.wait())

    async def _adapt(self, connection: Connection) -> bool:
        """Subscribe to what is wanted, and to nothing else; return whether something is new."""
        wanted, has = frozenset(self._wanted), self._subscriptions
        for channel in has.keys() - wanted:
            await connection.unsubscribe(has.pop(channel))
        new = wanted - has.keys()
        for number, channel in enumerate(new, 1):
            has[channel] = await connection.subscribe(self._site.subject_of(channel))
            if number % TURN == 0:
                await asyncio.sleep(0)
        await connection.verify(ANSWER_S)
        return bool(new)
