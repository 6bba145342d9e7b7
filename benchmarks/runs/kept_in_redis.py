"""
Streams that survive in Redis, as resumable-stream for Node does it, by redis.asyncio.

Each stream has a list, and a channel of pub/sub with the new tokens. A client subscribes, reads
the list, and then yields what is published; a last marker ends it.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis

END = b"DONE"
# Seconds for which a list is kept, as there.
KEPT_S = 24 * 60 * 60


# Connections of a process to write by; each subscription has its own one besides.
CONNECTIONS = 20


def connection() -> Redis:
    port = int(os.environ["ERIC_SSE_BENCH_REDIS"])
    pool = BlockingConnectionPool(max_connections=CONNECTIONS, timeout=None, port=port)
    return Redis(connection_pool=pool)


class Stream:
    """One stream's producer."""

    def __init__(self, redis: Redis, id: str) -> None:
        self._redis, self._id = redis, id
        self._next = 0

    async def write(self, text: str | bytes) -> None:
        """Keep a token, and publish it with its number: one round trip."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.rpush(f"list:{self._id}", text)
            if not self._next:
                pipeline.expire(f"list:{self._id}", KEPT_S)
            part = text if isinstance(text, bytes) else text.encode()
            pipeline.publish(f"channel:{self._id}", b"%d:%b" % (self._next, part))
            await pipeline.execute()
        self._next += 1

    async def end(self) -> None:
        await self.write(END)


async def read(redis: Redis, id: str) -> AsyncIterator[bytes]:
    """Yield the events of a stream, from its beginning to its end."""
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(f"channel:{id}")
        yield b": connected\n\n"
        kept: list[Any] = await redis.lrange(f"list:{id}", 0, -1)
        if kept:
            yield b"".join(map(_event, kept))
            if kept[-1] == END:
                return
        async for message in pubsub.listen():
            number, _, text = message["data"].partition(b":")
            if int(number) >= len(kept):
                yield _event(text)
                if text == END:
                    return


def _event(text: bytes) -> bytes:
    return f"data: {json.dumps({'text': text.decode()})}\n\n".encode()
