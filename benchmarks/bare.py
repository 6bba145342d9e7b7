"""
The ceiling: an ASGI app that keeps a queue for each connection and sends encoded bytes.

Nothing is stored, nobody is asked for, nothing is sent twice: what a server can do at best
with one write for each delivery.
"""

from __future__ import annotations

import asyncio
from typing import Any

_queues: set[asyncio.Queue[bytes]] = set()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    if scope["path"].startswith("/publish/"):
        await _publish(scope["path"].removeprefix("/publish/"), receive, send)
    else:
        await _stream(receive, send)


async def _publish(arguments: str, receive: Any, send: Any) -> None:
    first, count, size = (int(part) for part in arguments.split("/"))
    for number in range(first, first + count):
        frame = f"id: {number}\nevent: tick\ndata: {'x' * size}\n\n".encode()
        for queue in _queues:
            queue.put_nowait(frame)
        await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def _stream(receive: Any, send: Any) -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    _queues.add(queue)
    gone = asyncio.ensure_future(_gone(receive))
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b": ok\n\n", "more_body": True})
    try:
        while not gone.done():
            body = await queue.get()
            await send({"type": "http.response.body", "body": body, "more_body": True})
    finally:
        _queues.discard(queue)
        gone.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
