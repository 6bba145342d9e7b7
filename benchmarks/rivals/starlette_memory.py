"""sse-starlette: an EventSourceResponse over a queue for each connection, in memory."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.payload import publish_all_async

_queues: defaultdict[str, set[asyncio.Queue[Any]]] = defaultdict(set)


async def prepare(request: Request) -> Response:
    name, count = request.path_params["name"], request.path_params["listeners"]
    return JSONResponse([f"/stream/{name}"] * count)


async def publish(request: Request) -> Response:
    given = request.path_params
    number = given["first"]

    def one(text: str) -> None:
        nonlocal number
        for queue in _queues[given["name"]]:
            queue.put_nowait((number, text))
        number += 1

    seconds = await publish_all_async(
        one, number, given["count"], given["size"], float(given["per_s"])
    )
    return PlainTextResponse(repr(seconds))


async def stream(request: Request) -> Response:
    queues = _queues[request.path_params["name"]]
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def events() -> AsyncIterator[ServerSentEvent]:
        queues.add(queue)
        try:
            yield ServerSentEvent(comment="ok")
            while True:
                number, text = await queue.get()
                yield ServerSentEvent(text, event="tick", id=str(number))
        finally:
            queues.discard(queue)

    return EventSourceResponse(events())


application = Starlette(
    routes=[
        Route("/prepare/{name}/{listeners:int}", prepare),
        Route("/publish/{name}/{how}/{first:int}/{count:int}/{size:int}/{per_s}", publish),
        Route("/stream/{name}", stream),
    ]
)
