"""A stream's entries as the events that message_stream() yields."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from eric_sse_django.entry import Entry
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.streaming import Stream


async def events(
    stream: Stream, deliver: Callable[[Entry], Any], delay_s: float
) -> AsyncGenerator[Any, None]:
    """Yield deliver(entry), with the position as its `id`, at least `delay_s` apart."""
    async for entry in stream.entries():
        event = deliver(entry)
        if isinstance(event, dict):
            event.setdefault("id", entry.position)
        yield event
        if delay_s:
            await asyncio.sleep(delay_s)


@asynccontextmanager
async def ending(stream: Stream, listener: MessageQueueListener) -> AsyncIterator[None]:
    """Have the stream end when the listener object is stopped, from any thread."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not listener.is_running():
            stream.end("stopped")

    def wake() -> None:
        loop.call_soon_threadsafe(end)

    undo = listener.watch(wake)
    try:
        yield
    finally:
        if undo is not None:
            undo()
