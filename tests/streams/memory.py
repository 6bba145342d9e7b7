"""A Site without a database: its hub reads a log in memory, and its listeners have no rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.hub.hub import _hubs
from eric_sse_django.hub.records import Reached, Records
from eric_sse_django.models import Channel, Listener
from eric_sse_django.notifier import Notifier
from tests.streams.reading import Site


class MemoryRecords(Records):
    """The records of a hub without a database: it writes cursors to the listeners' objects."""

    def __init__(self, hub: Hub, listeners: dict[int, Listener]) -> None:
        super().__init__(hub.run, hub.counters, lambda: hub.follower.known, lambda changes: None)
        self._listeners = listeners

    def due(self, now: float) -> bool:
        return self.cursors.dirty

    async def write(self) -> None:
        await self.cursors.flush(self._store)

    async def close(self) -> None:
        await self.write()

    def final_calls(self) -> list[tuple[Any, ...]]:
        return []

    async def _store(self, _: Any, reached: Sequence[Reached], __: log.Known) -> list[Reached]:
        for each in reached:
            listener = self._listeners[each.listener]
            listener.cursor = max(listener.cursor, each.position)
        return []


class Process:
    """What the channels of a process without a database share."""

    def __init__(self) -> None:
        self.log = log.MemoryLog()
        self.notifier = Notifier(self.log)
        self.listeners: dict[int, Listener] = {}
        self.keys = count(1)  # of channels, listeners and owners


class MemorySite(Site):
    """A channel in memory with its hub, and readers of it."""

    def __init__(self, name: str, process: Process | None = None) -> None:
        self._process = process or Process()
        self.log = self._process.log
        super().__init__(DatabaseChannel(Channel(pk=next(self._process.keys), name=name)))

    @property
    def hub(self) -> Hub:
        loop = asyncio.get_running_loop()
        hub = _hubs.get(loop)
        if hub is None:
            hub = _hubs[loop] = Hub(loop, self.log, lambda: self._process.notifier)
            hub.records = MemoryRecords(hub, self._process.listeners)
        return hub

    async def another(self, name: str) -> MemorySite:
        return MemorySite(name, self._process)

    async def owner(self, name: str) -> Any:
        return next(self._process.keys)

    async def listener(self, owner: Any = None) -> Listener:
        key, start = next(self._process.keys), self.log.head().position
        row = Listener(pk=key, channel=self.channel.row, name=f"l{key}", owner_id=owner)
        row.running, row.start, row.cursor = True, start, start
        self._process.listeners[key] = row
        return row

    async def save(self, listener: Listener) -> None:
        """Do nothing: the object itself is kept."""

    async def refresh(self, listener: Listener) -> None:
        """Do nothing: the hub has written its cursor to this object."""

    async def append(self, *drafts: log.Draft) -> None:
        self.log.append(drafts)
        self._process.notifier.sequence_here()

    def publish_without_wake(self, *payloads: Any) -> None:
        """As publish(), but the hub finds it at its next look only."""
        self.log.append([self._draft(each) for each in payloads])
        self.log.sequence()

    async def flush(self) -> None:
        """Do nothing: append() has given the positions."""

    async def lose_sight(self) -> None:
        self.log.append([log.Draft(next(self._process.keys), -1.0, False, "n", "null")])
        self.log.sequence()
        self.log.trim()

    def all_run(self, listeners: Sequence[int]) -> bool:
        """Return whether listeners run, as streams find out by a query of their rows."""
        return all(self._process.listeners[each].running for each in listeners)

    async def close(self) -> None:
        await super().close()
        self._process.notifier.close()
