"""
Connections by nats-py, for what only nats-py supports: keys, credentials and callbacks.

It is imported with the first connection, which takes 70 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from eric_sse_django.cancelling import cancel, retrieve, within
from eric_sse_django.wakes.fabric import Parcel
from eric_sse_django.wakes.layer import LAYER_TIMEOUT_S, Runner, importing
from eric_sse_django.wakes.nats.protocol import (
    CLIENT_NAME,
    CONNECT_S,
    IDLE_S,
    JOIN_S,
    TRUST_S,
    UNENCRYPTED,
    ServerAddress,
    Site,
    encoded,
)
from eric_sse_django.wakes.nats.receiver import OnData


class ClientConnection:
    """
    One connection of nats-py to one server, for one loop. Each failure ends it.

    Then its user makes another one, to any server, and knows that messages may be lost. nats-py
    would reconnect silently, and stop after 60 attempts.
    """

    def __init__(self, on_data: OnData, on_end: Callable[[], None]) -> None:
        with importing:
            make_client = import_module("nats.aio.client").Client
        self._client: Any = make_client()
        self._inbox = Inbox(on_data)
        self._on_end = on_end
        self._ended = asyncio.Event()
        self._pinging: asyncio.Future[Any] | None = None
        self.error: Exception | None = None
        self.is_open = False

    async def open(self, server: str, options: Mapping[str, Any]) -> None:
        """Connect; raise what hinders it."""
        await self._client.connect(
            server,
            **{"name": CLIENT_NAME, **options},
            allow_reconnect=False,
            # Without a limit it repeats an attempt that was refused, and never returns.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
        )
        # nats-py continues without encryption, if the server does not ask for it.
        if ServerAddress.of(server).wants_encryption(options) and not self._is_encrypted():
            raise ConnectionError(UNENCRYPTED)
        self.error = None  # the first of two attempts may have failed
        self._ended.clear()
        self.is_open = True

    def _writer(self) -> Any:
        return getattr(getattr(self._client, "_transport", None), "_io_writer", None)

    def _is_encrypted(self) -> bool:
        writer = self._writer()
        return writer is not None and writer.get_extra_info("ssl_object") is not None

    async def publish(self, subject: str, data: bytes) -> None:
        """Send, and wait for no answer."""
        self.check()
        await self._client.publish(subject, data)

    async def subscribe(self, subject: str) -> Any:
        self.check()
        return await self._client.subscribe(subject, future=self._inbox)

    async def unsubscribe(self, subscription: Any) -> None:
        self.check()
        await subscription.unsubscribe()

    async def written(self) -> None:
        """Wait until what was sent is with the system; raise if the connection has ended."""
        pause_s = 0.0
        while self._client.pending_data_size:
            self.check()
            await asyncio.sleep(pause_s)
            pause_s = 0.001
        self.check()

    async def verify(self, timeout_s: float) -> None:
        await self.written()  # nats-py's ping overtakes what is not
        # flush() does not ping if what reads has failed; before nats-py 2.15 there is no rtt().
        ping = getattr(self._client, "rtt", self._client.flush)
        # Not cancelled before close(): nats-py logs an error for an answer that nobody waits for.
        self._pinging = asyncio.ensure_future(ping(timeout_s))
        self._pinging.add_done_callback(retrieve)
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            tasks = {self._pinging, ending}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        self.check()
        self._pinging.result()

    def check(self) -> None:
        if self._ended.is_set():
            raise self.error or ConnectionError("NATS has closed the connection")

    def end(self, error: Exception) -> None:
        self.error = self.error or error
        self._ended.set()
        self._on_end()

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            await within(LAYER_TIMEOUT_S, self._client.close())
        # nats-py has no way to give up what the server does not read.
        writer = self._writer()
        if writer is not None:
            writer.transport.abort()
        if self._pinging is not None:
            self._pinging.cancel()
        await asyncio.sleep(0)

    async def close_with_tasks(self) -> None:
        """Close it, and end the tasks of its loop; waits twice LAYER_TIMEOUT_S at most."""
        await self.close()
        await cancel(asyncio.all_tasks() - {asyncio.current_task()}, LAYER_TIMEOUT_S)

    async def _on_error(self, error: Exception) -> None:
        # Also what it lets pass: a subject that is not permitted, messages that were dropped.
        self.end(error)

    async def _on_closed(self) -> None:
        self.end(self._client.last_error or ConnectionError("NATS has closed the connection"))


class Inbox(asyncio.Future[Any]):
    """
    Given to nats-py as the future of one answer, it calls back with each message.

    A subscription with a callback has a task: it takes 20 µs instead of 11, and a message 15
    instead of 4. This never drops messages: a server that waits for a slow process closes the
    connection.
    """

    def __init__(self, on_data: OnData) -> None:
        super().__init__()
        self._on_data = on_data

    def set_result(self, message: Any) -> None:
        self._on_data(message.data)


async def connect(site: Site, on_data: OnData, on_end: Callable[[], None]) -> ClientConnection:
    """Return a connection to any of the servers; raise what the last one of them raises."""
    return await within(JOIN_S, _connect(site, on_data, on_end))


async def _connect(site: Site, on_data: OnData, on_end: Callable[[], None]) -> ClientConnection:
    error: Exception = ConnectionError("no NATS server is configured")
    for server in site.shuffled():
        connection = ClientConnection(on_data, on_end)
        try:
            await within(CONNECT_S, connection.open(server, site.options))
            return connection
        except Exception as its:  # noqa: BLE001 - raised below, if it is the last server's
            error = connection.error or its
        finally:
            if not connection.is_open:
                await connection.close()
    raise error


def _ignore(*_: object) -> None:
    pass


async def probe(site: Site) -> None:
    """Publish what nobody receives, and wait for the server's answer."""
    connection = await connect(site, _ignore, _ignore)
    try:
        await within(LAYER_TIMEOUT_S, connection.publish(site.subject("health"), b""))
        await connection.verify(LAYER_TIMEOUT_S)
    finally:
        await connection.close_with_tasks()


class ClientCarrier:
    """Publishes on a loop that runs only meanwhile."""

    sends_at_once = False

    def __init__(self, site: Site, runner: Runner) -> None:
        self._site, self._runner = site, runner
        self._connection: ClientConnection | None = None
        self._used_at = self._verified_at = 0.0

    def send(self, parcels: Sequence[Parcel]) -> None:
        self._runner.run(self._send(parcels))

    def send_at_once(self, parcels: Sequence[Parcel]) -> bool:
        return False  # it waits for its loop

    def close(self) -> None:
        self._runner.run(self._close())
        self._runner.close()

    async def _send(self, parcels: Sequence[Parcel]) -> None:
        connection = await self._connected()
        await within(LAYER_TIMEOUT_S, self._publish(connection, parcels))
        now = self._used_at = time.monotonic()
        if now - self._verified_at > TRUST_S:
            await connection.verify(LAYER_TIMEOUT_S)
            self._verified_at = now

    async def _publish(self, connection: ClientConnection, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            await connection.publish(self._site.subject_of(parcel.channel), encoded(parcel))
        await connection.written()

    async def _connected(self) -> ClientConnection:
        now = time.monotonic()
        if self._connection is not None and now - self._used_at > IDLE_S:
            await self._close()
        if self._connection is None:
            self._connection = await connect(self._site, _ignore, _ignore)
            # Not verified: only after its first message the server refuses a subject.
            self._verified_at = float("-inf")
        return self._connection

    async def _close(self) -> None:
        closing, self._connection = self._connection, None
        if closing is not None:
            await closing.close_with_tasks()
