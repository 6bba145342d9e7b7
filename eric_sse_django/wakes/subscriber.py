"""
Receiving from channels_redis' pub/sub layer without importing it: one SUBSCRIBE.

The layer takes 0.3 ms of CPU for each message, and looks for one ten times a second. What is read
here are the bytes that it publishes; see pubsub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from importlib import import_module
from typing import Any

from eric_sse_django.cancelling import until_one_ends, within
from eric_sse_django.wakes.fabric import MALFORMED, OnMessage
from eric_sse_django.wakes.layer import importing
from eric_sse_django.wakes.pubsub import Group, resp

# Seconds that connecting may take, and the answer to a PING.
ANSWER_S = 5.0
# Seconds between two PINGs: a link that is down shows no other sign.
PING_S = 15.0
# Bytes of a message at most. Wakes have 50 KB.
MAX_BYTES = 1_048_576
# Bytes that are read at once of a message that is too large.
SKIPPED_AT_ONCE = 65_536


class RedisSubscriber:
    """Receives what is sent to a group of the layer."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._writer: asyncio.StreamWriter | None = None
        self._heard = asyncio.Event()
        with importing:
            self._unpack = import_module("msgpack").unpackb

    async def receive(self, on_message: OnMessage, on_doubt: Callable[[], None]) -> None:
        reader = await within(ANSWER_S, self._subscribe())
        on_doubt()  # for what was published before this
        await until_one_ends(self._read(reader, on_message), self._ping())

    def want(self, channels: AbstractSet[int]) -> None:
        """Do nothing: all processes receive all."""

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()

    async def _subscribe(self) -> asyncio.StreamReader:
        host, port, login = self._group.server
        reader, self._writer = await asyncio.open_connection(host, port)
        if login:
            self._writer.write(resp(b"AUTH", *(part.encode() for part in login)))
            await _value(reader)
        self._writer.write(resp(b"SUBSCRIBE", self._group.name))
        await _value(reader)
        return reader

    async def _read(self, reader: asyncio.StreamReader, on_message: OnMessage) -> None:
        while True:
            found = await _value(reader)
            self._heard.set()
            if isinstance(found, list) and found[0] == b"message":
                on_message(self._unpacked(found[2]))

    def _unpacked(self, packed: bytes) -> Mapping[str, Any]:
        """Return a message; MALFORMED where another program has sent something else."""
        try:
            found = self._unpack(packed)
        except Exception:  # noqa: BLE001 - the library has no base class of all its errors
            return MALFORMED
        return found if isinstance(found, dict) else MALFORMED

    async def _ping(self) -> None:
        """Raise if Redis does not answer."""
        while True:
            await asyncio.sleep(PING_S)
            assert self._writer is not None
            self._heard.clear()
            self._writer.write(resp(b"PING"))
            try:
                await within(ANSWER_S, self._heard.wait())
            except asyncio.TimeoutError as error:
                raise ConnectionError(f"Redis has not answered for {ANSWER_S:g} s") from error


async def _value(reader: asyncio.StreamReader) -> Any:
    """
    Return the next value of Redis' protocol, version 2; raise ConnectionError for an error.

    b"" stands for a string that is too large.
    """
    try:
        line = await reader.readuntil(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [await _value(reader) for _ in range(int(rest))]
        if kind == b"$":
            size = int(rest)
            if size > MAX_BYTES:
                await _skip(reader, size + 2)
                return b""
            return (await reader.readexactly(size + 2))[:-2] if size >= 0 else None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise ConnectionError("Redis has closed the connection") from error
    if kind == b"-":
        raise ConnectionError(rest.decode(errors="replace"))
    return rest


async def _skip(reader: asyncio.StreamReader, size: int) -> None:
    while size:
        size -= len(await reader.readexactly(min(size, SKIPPED_AT_ONCE)))
