"""The measured process: counts the calls, and prints them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import uvicorn
from asgiref.sync import sync_to_async
from django.core.management import call_command

from benchmarks.durable import application  # sets Django up
from eric_sse_django import notifier
from eric_sse_django.shortcuts import channel, listen, publish, stream_url
from eric_sse_django.testing import Hub, close_all

PACKAGE = "/eric_sse_django/"
# Seconds within which a message has to arrive.
TIMEOUT_S = 10.0
WARM_UP = 5
# Seconds after which the hub has read what was published and written its records: its own work,
# once a second, is not part of a reconnect.
SETTLE_S = 2.3
# Seconds after which a message is one published alone: the app has 5 ms.
APART_S = 0.1

# Thread, file and function.
Call = tuple[str, str, str]


class Walk:
    """Records the calls of the package's functions, on all threads started after its creation."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.is_on = False
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not self.is_on:
            return
        code = frame.f_code
        _, found, file = code.co_filename.rpartition(PACKAGE)
        if found:
            self.calls.append(
                (threading.current_thread().name, file, getattr(code, "co_qualname", code.co_name))
            )

    async def of(self, act: Callable[[], Awaitable[None]]) -> list[Call]:
        """Return the calls of act(), and those of other threads until it returns."""
        self.calls.clear()
        self.is_on = True
        try:
            await asyncio.wait_for(act(), TIMEOUT_S)
        finally:
            self.is_on = False
        return list(self.calls)


class Client:
    """One request to a server, and its answer so far."""

    def __init__(self, port: int) -> None:
        self.body = b""
        self._port = port

    async def open(self, url: str, last_event_id: str = "") -> Client:
        """Send the request; until() reads the answer."""
        self._in, self._out = await asyncio.open_connection("127.0.0.1", self._port)
        lines = [f"GET {url} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
        lines += [f"Last-Event-ID: {last_event_id}"] if last_event_id else []
        self._out.write("\r\n".join([*lines, "", ""]).encode())
        return self

    async def until(self, text: bytes) -> None:
        """Return when the answer contains this text."""
        while text not in self.body:
            found = await self._in.read(65_536)
            if not found:
                raise RuntimeError(f"The stream ended after {self.body!r}.")
            self.body += found

    def leave(self) -> None:
        """Close the connection."""
        self._out.close()


async def walk_both(walk: Walk) -> dict[str, list[Call]]:
    """Return the calls of one publish, and of one reconnect."""
    await sync_to_async(channel)("walks")
    listener = await sync_to_async(listen)("walks", listener_id="one")
    url = await sync_to_async(stream_url)(listener, ticket=True)

    async def send(text: str) -> None:
        await sync_to_async(publish)("walks", "walk", text)

    async with _serving() as port:
        return await _walks(walk, port, url, send)


@asynccontextmanager
async def _serving() -> AsyncIterator[int]:
    """Serve the application within the block; the value is the port."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", loop="asyncio"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await asyncio.wait_for(serving, TIMEOUT_S)
    await Hub.close_all()


async def _walks(
    walk: Walk, port: int, url: str, send: Callable[[str], Awaitable[None]]
) -> dict[str, list[Call]]:
    client = await Client(port).open(url)
    await client.until(b"retry:")
    for number in range(WARM_UP):
        await send(f"warm {number}")
        await client.until(f"warm {number}".encode())
    await asyncio.sleep(APART_S)

    async def one() -> None:
        await send("counted")
        await client.until(b"counted")

    async def again() -> None:
        nonlocal client
        client = await Client(port).open(url, last)
        await client.until(b"counted")

    walks = {"publish": await walk.of(one)}
    last = client.body.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
    client.leave()
    await send("counted while away")
    await sync_to_async(notifier.flush)()
    await asyncio.sleep(SETTLE_S)
    walks["reconnect"] = await walk.of(again)
    client.leave()
    return walks


def table(walks: dict[str, list[Call]]) -> str:
    """Return the counts as a Markdown table."""
    lines = ["| walk | calls | functions | files | threads |", "|---|---|---|---|---|"]
    for name, calls in walks.items():
        counts = [
            len(calls),
            len({call[1:] for call in calls}),
            len({file for _, file, _ in calls}),
            len({thread for thread, _, _ in calls}),
        ]
        lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def listing(name: str, calls: list[Call]) -> str:
    """Return a walk's calls in their order, after the number of calls of each file."""
    files = Counter(file for _, file, _ in calls).most_common()
    return "\n".join(
        [
            f"\n{name}",
            *(f"  {count:4d}  {file}" for file, count in files),
            *(f"    {thread:22.22} {file}:{function}" for thread, file, function in calls),
        ]
    )


def main() -> None:
    walk = Walk()
    call_command("migrate", verbosity=0)
    walks = asyncio.run(walk_both(walk))
    close_all()
    print(table(walks))
    if "--list" in sys.argv:
        for name, calls in walks.items():
            print(listing(name, calls))


if __name__ == "__main__":
    main()
