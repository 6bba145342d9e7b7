"""
A connection that receives from NATS without nats-py.

nats-py has a queue for each subscription, so for each channel: it takes 3.7 KiB, and 11 µs to
begin. Here a subscription is a number.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from eric_sse_django.cancelling import within
from eric_sse_django.wakes.nats.protocol import (
    CONNECT_S,
    JOIN_S,
    MAX_BYTES,
    ServerAddress,
    Site,
    error_of,
    greeting_of,
)
from eric_sse_django.wakes.nats.receiver import OnData

# Bytes of a line at most: a greeting names all servers of a cluster.
MAX_LINE_BYTES = 65_536
# The end of the line before a message: its size.
_MESSAGE = re.compile(rb"MSG .* (\d+)")


class Subscriber(asyncio.Protocol):
    """One connection of a loop; calls on_data with each message, and on_end once it has ended."""

    def __init__(self, on_data: OnData, on_end: Callable[[], None]) -> None:
        self._on_data, self._on_end = on_data, on_end
        self._received = bytearray()
        self._size: int | None = None  # of the message that comes next, after its line
        self._skipped = 0  # bytes of a message that is too large, which are still to come
        self._number = 0
        self._answer: asyncio.Future[None] | None = None
        self._transport: Any = None
        self.greeting: dict[str, Any] | None = None
        self.error: Exception | None = None

    async def open(self, server: str, options: dict[str, Any]) -> None:
        """Connect; raise what hinders it."""
        address, loop = ServerAddress.of(server), asyncio.get_running_loop()
        is_first = bool(options.get("tls_handshake_first"))
        context, name = address.tls(options) if is_first else (None, None)
        at = address.host, address.port
        await loop.create_connection(lambda: self, *at, ssl=context, server_hostname=name)
        if self.greeting is None:
            await self._answered(CONNECT_S)
        if not is_first and address.must_encrypt(self.greeting or {}, options):
            context, name = address.tls(options)
            encrypting = loop.start_tls(self._transport, self, context, server_hostname=name)
            self._transport = await encrypting
        self._transport.write(address.connect_line(options))
        await self.verify(CONNECT_S)

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def end(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            self._answers()
            self._on_end()

    async def subscribe(self, subject: str) -> int:
        self.check()
        self._number += 1
        self._transport.write(b"SUB %s %d\r\n" % (subject.encode(), self._number))
        return self._number

    async def unsubscribe(self, subscription: int) -> None:
        self.check()
        self._transport.write(b"UNSUB %d\r\n" % subscription)

    async def verify(self, timeout_s: float) -> None:
        self.check()
        self._transport.write(b"PING\r\n")
        await self._answered(timeout_s)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _answered(self, timeout_s: float) -> None:
        """Wait for the greeting, or the answer to a ping; raise if the connection ends."""
        self.check()
        self._answer = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait({self._answer}, timeout=timeout_s)
        self.check()
        if not done:
            raise asyncio.TimeoutError(f"NATS has not answered for {timeout_s:g} s")

    def _answers(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    # What asyncio calls ------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(exc or ConnectionError("NATS closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Handle all that is complete."""
        received, start = self._received, 0
        received += data
        try:
            while self.error is None and (end := self._next(received, start)) is not None:
                start = end
        except Exception as error:  # noqa: BLE001 - check() raises it
            self.end(error)
        del received[:start]

    def _next(self, received: bytearray, start: int) -> int | None:
        """Handle one line or message; return where it ends, None if it is not complete."""
        left = len(received) - start
        if self._skipped:
            if not left:
                return None
            skipped = min(self._skipped, left)
            self._skipped -= skipped
            return start + skipped
        if self._size is not None:
            if left < self._size + 2:
                return None
            end = start + self._size
            self._size = None
            self._on_data(bytes(received[start:end]))
            return end + 2
        end = received.find(b"\r\n", start)
        if end < 0:
            if left > MAX_LINE_BYTES:
                raise ConnectionError("NATS sends a line without an end")
            return None
        self._handle(bytes(received[start:end]))
        return end + 2

    def _handle(self, line: bytes) -> None:
        if found := _MESSAGE.fullmatch(line):
            size = int(found[1])
            if size <= MAX_BYTES:
                self._size = size
            else:
                self._skipped = size + 2
                self._on_data(b"")
        elif line == b"PONG":
            self._answers()
        elif line == b"PING":
            self._transport.write(b"PONG\r\n")
        elif line.startswith(b"-ERR"):
            raise error_of(line)
        elif self.greeting is None:
            self.greeting = greeting_of(line)
            self._answers()
        elif not line.startswith((b"INFO ", b"+OK")):
            raise ConnectionError("NATS sends what is not of its protocol")


async def connect(site: Site, on_data: OnData, on_end: Callable[[], None]) -> Subscriber:
    """Return a connection to any of the servers; raise what the last one of them raises."""
    return await within(JOIN_S, _connect(site, on_data, on_end))


async def _connect(site: Site, on_data: OnData, on_end: Callable[[], None]) -> Subscriber:
    error: Exception = ConnectionError("no NATS server is configured")
    for server in site.shuffled():
        subscriber = Subscriber(on_data, on_end)
        try:
            await within(CONNECT_S, subscriber.open(server, dict(site.options)))
            return subscriber
        except Exception as its:  # noqa: BLE001 - raised below, if it is the last server's
            subscriber.abort()
            error = subscriber.error or its
        except asyncio.CancelledError:
            subscriber.abort()
            raise
    raise error
