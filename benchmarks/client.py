"""Many readers of a stream in one process, cheap enough not to be what is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

# Connections opened at once: more overflow the server's backlog.
OPENING = 50


class Reader(asyncio.Protocol):
    """Counts events by their ids; keeps what shows loss, repetition and order."""

    def __init__(self, path: str) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.count = 0
        self.disordered = 0
        self.last = -1
        self._path = path
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        head = f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        self.transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self.opened.set_result(None)
        whole, _, self._rest = (self._rest + data).rpartition(b"\n\n")
        events = whole.count(b"\nevent: ")
        if not events:
            return
        self.count += events
        last = int(whole[whole.rindex(b"id: ") + 4 :].split(b"\n", 1)[0])
        self.disordered += last <= self.last
        self.last = last


async def open_all(port: int, paths: Sequence[str]) -> list[Reader]:
    """Return readers whose streams have begun."""
    loop = asyncio.get_running_loop()
    readers: list[Reader] = []
    for start in range(0, len(paths), OPENING):
        made = [Reader(path) for path in paths[start : start + OPENING]]
        for reader in made:
            await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)
        await asyncio.gather(*(reader.opened for reader in made))
        readers += made
    return readers


async def until(readers: Sequence[Reader], count: int, patience_s: float) -> float:
    """Return the seconds until every reader has `count` events; gives up after patience_s."""
    began = time.perf_counter()
    while any(reader.count < count for reader in readers):
        if time.perf_counter() - began > patience_s:
            break
        await asyncio.sleep(0.005)
    return time.perf_counter() - began
