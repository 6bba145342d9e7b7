"""
The ceilings: ASGI apps that have a queue for each connection and send encoded bytes.

They store nothing, check no access and repeat nothing. `application` has one write for each
delivery. `joining` has one for all messages that wait for a client, and joins them once for all
clients; its publisher has a thread, as that of a Django view has. Messages published without a
listener wait for the next one.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.payload import publish_all, publish_all_async

_queues: defaultdict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)
_waiting: defaultdict[str, list[bytes]] = defaultdict(list)
# Of the app that joins: what is sent at the loop's next turn.
_next: defaultdict[str, list[bytes]] = defaultdict(list)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """One write for each message and client."""
    await _answer(scope, receive, send, _publish)


async def joining(scope: Any, receive: Any, send: Any) -> None:
    """One write for a client's waiting messages."""
    await _answer(scope, receive, send, _publish_on_thread)


async def _answer(scope: Any, receive: Any, send: Any, publish: Callable[..., Any]) -> None:
    if scope["type"] == "lifespan":
        return
    _, what, *arguments = scope["path"].split("/")
    if what == "stream":
        await _stream(arguments[0], receive, send, joins=publish is not _publish)
        return
    body = b""
    if what == "prepare":
        body = json.dumps([f"/stream/{arguments[0]}"] * int(arguments[1])).encode()
    elif what == "publish":
        channel, _, first, count, size, per_s = arguments
        seconds = await publish(channel, int(first), int(count), int(size), float(per_s))
        body = repr(seconds).encode()
    await send({"type": "http.response.start", "status": 200 if body else 404, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def _publish(channel: str, first: int, count: int, size: int, per_s: float) -> float:
    def publish(text: str) -> None:
        _hand_out(channel, _frame(text))

    return await publish_all_async(publish, first, count, size, per_s)


async def _publish_on_thread(
    channel: str, first: int, count: int, size: int, per_s: float
) -> float:
    loop = asyncio.get_running_loop()

    def add(frame: bytes) -> None:
        if not _next[channel]:
            loop.call_soon(hand_out)
        _next[channel].append(frame)

    def hand_out() -> None:
        _hand_out(channel, b"".join(_next.pop(channel)))

    def publish(text: str) -> None:
        loop.call_soon_threadsafe(add, _frame(text))

    return await loop.run_in_executor(None, publish_all, publish, first, count, size, per_s)


def _frame(text: str) -> bytes:
    number = text[1:].partition(" ")[0]
    return f"id: {number}\nevent: tick\ndata: {text}\n\n".encode()


def _hand_out(channel: str, body: bytes) -> None:
    for queue in _queues[channel]:
        queue.put_nowait(body)
    if not _queues[channel]:
        _waiting[channel].append(body)


async def _stream(channel: str, receive: Any, send: Any, joins: bool) -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    for frame in _waiting.pop(channel, ()):
        queue.put_nowait(frame)
    _queues[channel].add(queue)
    gone = asyncio.ensure_future(_gone(receive))
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b": ok\n\n", "more_body": True})
    try:
        while not gone.done():
            body = await queue.get()
            if joins and not queue.empty():
                body += b"".join([queue.get_nowait() for _ in range(queue.qsize())])
            await send({"type": "http.response.body", "body": body, "more_body": True})
    finally:
        _queues[channel].discard(queue)
        gone.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
