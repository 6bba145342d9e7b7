"""
The ceiling: an ASGI app that has a queue for each connection and sends encoded bytes.

It stores nothing, checks no access and repeats nothing: the best that a server can do with one
write for each delivery. Messages published without a listener wait for the next one.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

from benchmarks.payload import publish_all_async

_queues: defaultdict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)
_waiting: defaultdict[str, list[bytes]] = defaultdict(list)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    _, what, *arguments = scope["path"].split("/")
    if what == "stream":
        await _stream(arguments[0], receive, send)
        return
    body = b""
    if what == "prepare":
        body = json.dumps([f"/stream/{arguments[0]}"] * int(arguments[1])).encode()
    elif what == "publish":
        body = await _publish(*arguments)
    await send({"type": "http.response.start", "status": 200 if body else 404, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def _publish(channel: str, how: str, first: str, count: str, size: str, per_s: str) -> bytes:
    number = int(first)

    def publish(text: str) -> None:
        nonlocal number
        frame = f"id: {number}\nevent: tick\ndata: {text}\n\n".encode()
        number += 1
        for queue in _queues[channel]:
            queue.put_nowait(frame)
        if not _queues[channel]:
            _waiting[channel].append(frame)

    seconds = await publish_all_async(publish, number, int(count), int(size), float(per_s))
    return repr(seconds).encode()


async def _stream(channel: str, receive: Any, send: Any) -> None:
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
            await send({"type": "http.response.body", "body": body, "more_body": True})
    finally:
        _queues[channel].discard(queue)
        gone.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
