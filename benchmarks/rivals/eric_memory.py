"""eric-api over eric-sse, in memory: its own application, with the harness's addresses."""

from __future__ import annotations

import logging

logging.disable(logging.INFO)  # it logs each request with its own handler

from eric_api import app, channel_container  # noqa: E402 - it configures logging when imported
from eric_sse.message import Message  # noqa: E402
from eric_sse.prefabs import SSEChannel  # noqa: E402

from benchmarks.payload import publish_all_async  # noqa: E402

application = app


@app.get("/prepare/{name}/{listeners}")
async def prepare(name: str, listeners: int) -> list[str]:
    channel = SSEChannel(channel_id=name)
    channel_container.register(channel)
    return [f"/stream/{name}/{channel.add_listener().id}" for _ in range(listeners)]


@app.get("/publish/{name}/{how}/{first}/{count}/{size}/{per_s}")
async def publish(name: str, how: str, first: int, count: int, size: int, per_s: float) -> float:
    channel = channel_container.get(name)

    def one(text: str) -> None:
        channel.broadcast(Message("tick", text))

    return await publish_all_async(one, first, count, size, per_s)
