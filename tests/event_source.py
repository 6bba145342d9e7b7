"""A small EventSource client: it reconnects with the last event ID that it received."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.client import StreamClient, StreamEnded
from tests.patience import PATIENCE_S
from tests.sse import Event


@dataclass(frozen=True)
class Record:
    """An event, when it came (time.monotonic()) and over which connection (0, 1, …)."""

    event: Event
    at: float
    connection: int


@dataclass
class EventSourceClient:
    """
    Follow a stream over reconnects, as EventSource does, in a task. An async context manager.

    `records` are the events, `statuses` the answers to each connection that was answered.
    Honours `retry:` and Last-Event-ID; like Chromium it gives up (`closed`) on any status
    but 200 and on another content type, and reconnects when the connection fails or ends.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    # Chromium's default is 3000; a test has no time for it.
    retry_ms: int = 100
    last_event_id: str = ""
    records: list[Record] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    closed: bool = False
    # The current connection, for a test that cuts it or checks its reader.
    stream: StreamClient | None = None

    async def __aenter__(self) -> EventSourceClient:
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *exc: object) -> None:
        # Again until it is done: before Python 3.12 wait_for() may swallow a cancel.
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.5)
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    @property
    def ids(self) -> list[str]:
        """The last event id of each event, in the order of arrival."""
        return [record.event.last_event_id for record in self.records]

    async def wait_for(self, count: int, timeout_s: float = PATIENCE_S) -> list[Record]:
        """Return all records once there are `count`. Raises asyncio.TimeoutError."""

        async def wait() -> None:
            while len(self.records) < count and not self._task.done():
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), timeout_s)
        return self.records

    async def wait_closed(self, timeout_s: float = PATIENCE_S) -> None:
        """Return once the server has ended the stream permanently. Raises asyncio.TimeoutError."""
        await asyncio.wait_for(asyncio.shield(self._task), timeout_s)

    async def _follow(self) -> None:
        try:
            while not self.closed:
                await self._connect()
                if not self.closed:
                    await asyncio.sleep(self.retry_ms / 1000)
        finally:
            self._changed.set()

    async def _connect(self) -> None:
        """Follow one connection to its end."""
        try:
            client = await StreamClient.open(
                self.url, headers=self.headers, last_event_id=self.last_event_id
            )
        except (OSError, EOFError, asyncio.TimeoutError):
            return
        async with client:
            self.stream = client
            connection = len(self.statuses)
            self.statuses.append(client.status)
            kind = client.headers.get("content-type", "")
            self.closed = client.status != 200 or not kind.startswith("text/event-stream")
            while not self.closed:
                try:
                    event = await client.event(timeout_s=3600)
                except StreamEnded:
                    return
                finally:
                    self.last_event_id = client.reader.last_event_id
                    if client.reader.retry_ms is not None:
                        self.retry_ms = client.reader.retry_ms
                self.records.append(Record(event, time.monotonic(), connection))
                self._changed.set()
