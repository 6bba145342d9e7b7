"""
The worker: python -m benchmarks.runs.worker <kind>

Reads a line of JSON for each work from its standard input, and answers with a line: "prepare"
with the paths of the streams, "produce" once all is produced, "rows" with what the log has.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from uuid import uuid4

import django
import uvloop

from benchmarks.runs.tokens import token, tokens

TITLE = "A benchmark"


class InRedis:
    """Produces to lists of Redis."""

    def __init__(self) -> None:
        from benchmarks.runs import kept_in_redis  # noqa: PLC0415 - not for runs

        self._kept = kept_in_redis
        self._redis = kept_in_redis.connection()
        self._ids: list[str] = []

    async def prepare(self, runs: int) -> list[str]:
        self._ids = [str(uuid4()) for _ in range(runs)]
        return [f"/redis/{id}" for id in self._ids]

    async def produce(self, index: int, start_at: float, count: int, per_s: float) -> None:
        stream = self._kept.Stream(self._redis, self._ids[index])
        async for text in tokens(start_at, count, per_s):
            await stream.write(text)
        await stream.end()

    async def fill(self, count: int) -> str:
        """Produce a stream of as many tokens as fast as it goes; return its path."""
        (path,) = await self.prepare(1)
        stream = self._kept.Stream(self._redis, self._ids[0])
        for number in range(count):
            await stream.write(token(number))
        await stream.end()
        return path

    async def rows(self) -> int:
        return 0


class InRuns:
    """Produces runs."""

    def __init__(self) -> None:
        from eric_sse_django import runs  # noqa: PLC0415 - needs Django

        self._runs = runs
        self._made: list[Any] = []

    async def prepare(self, runs: int) -> list[str]:
        from eric_sse_django.authorization import make_ticket  # noqa: PLC0415 - as above

        self._made = [await self._runs.astart(title=TITLE) for _ in range(runs)]
        return [
            f"/events/runs/{run.id}/?ticket={make_ticket(run.listener.channel, run.listener)}"
            for run in self._made
        ]

    async def produce(self, index: int, start_at: float, count: int, per_s: float) -> None:
        async with self._runs.aproduce(self._made[index]) as out:
            async for text in tokens(start_at, count, per_s):
                out.write(text)

    async def fill(self, count: int) -> str:
        """Produce a run whose messages have two tokens each, as at 50 a second."""
        (path,) = await self.prepare(1)
        async with self._runs.aproduce(self._made[0]) as out:
            for number in range(count):
                out.write(token(number))
                if number % 2:
                    await out.flush()
        return path

    async def rows(self) -> int:
        """Return how many messages the runs have."""
        from eric_sse_django.models import QueuedMessage  # noqa: PLC0415 - as above

        keys = [run.pk for run in self._made]
        return await QueuedMessage.objects.filter(listener__in=keys).acount()


async def main(kind: str) -> None:
    work = InRedis() if kind == "redis" else InRuns()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        if asked["do"] == "prepare":
            answer: Any = await work.prepare(asked["runs"])
        elif asked["do"] == "fill":
            answer = await work.fill(asked["count"])
        elif asked["do"] == "rows":
            answer = await work.rows()
        else:
            starts = enumerate(asked["starts"])
            done = [work.produce(n, at, asked["count"], asked["per_s"]) for n, at in starts]
            answer = await asyncio.gather(*done)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    django.setup()
    uvloop.run(main(sys.argv[1]))  # as uvicorn does
