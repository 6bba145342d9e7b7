"""What the live tests ask of a running server: listeners, publishers, its counters."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from asgiref.sync import sync_to_async

from eric_sse_django import notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.log import retention
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import listen, stream_url
from tests import forking
from tests.client import StreamClient
from tests.live.asgi_servers import ROOT, ASGIServer
from tests.patience import PATIENCE_S

# Cases of a test that run at the same time: each starts a server, which takes a second of CPU.
AT_ONCE = 4


async def new_listener(channel: DatabaseChannel, owner: Any = None) -> str:
    """Return the path of the stream of a new running listener, with a ticket."""
    listener = await sync_to_async(listen)(channel.id, owner)
    return await sync_to_async(stream_url)(listener, ticket=True)


async def publisher(
    server: ASGIServer, channel: DatabaseChannel, count: int, interval_s: float = 0, first: int = 0
) -> forking.Running:
    """Return a started process that publishes `count` numbers with the server's settings."""
    arguments = [channel.id, str(first), str(count), str(interval_s)]
    command = [sys.executable, "-m", "tests.live.publisher", *arguments]
    return await forking.start(command, cwd=ROOT, env=server.environment)


def lose() -> None:
    """Remove all messages from the log, as retention does."""
    notifier.flush()
    QueuedMessage.objects.update(expires_at="2020-01-01T00:00Z")
    assert retention.trim() > 0


async def get(url: str) -> bytes:
    """Return the body of an ordinary request."""
    headers = {"Connection": "close", "Accept": "*/*"}
    async with await StreamClient.open(url, headers=headers) as client:
        assert client.status == 200
        return await client.read_to_end()


async def counters(server: ASGIServer) -> dict[str, float]:
    """Return what the server's process holds: tasks, threads, files, memory, queries."""
    return dict(json.loads(await get(f"{server.url}/counters")))


async def side_by_side(check: Callable[..., Awaitable[None]], cases: Iterable[str]) -> None:
    """
    Run `check(case, turn)` for all cases, AT_ONCE at the same time; raise the first error.

    For cases that mostly wait, as for a server's deadline. `turn` is a lock that they share: a
    case holds it while it keeps the machine busy, so that none is slower than alone.
    """
    turn, places, names = asyncio.Lock(), asyncio.Semaphore(AT_ONCE), list(cases)

    async def run(name: str) -> None:
        async with places:
            await check(name, turn)

    found = await asyncio.gather(*map(run, names), return_exceptions=True)
    for name, error in zip(names, found, strict=True):
        if error is not None:
            raise AssertionError(name) from error


async def until(condition: Any, timeout_s: float = PATIENCE_S) -> None:
    """Return once condition() is true. Raises asyncio.TimeoutError."""

    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), timeout_s)
