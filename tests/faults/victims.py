"""Processes that are killed at random moments and started again, until the run ends."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests import forking
from tests.faults.ledger import Ledger
from tests.faults.servers import Servers
from tests.live.asgi_servers import ROOT, ASGIServer

# Seconds within which a process is killed: after it is ready, after a transaction began, and
# (for one of eight) after it was started.
READY_S = 2.0
TRANSACTION_S = 0.01
EARLY_S = 1.0
EARLY = 0.125


@dataclass
class Kills:
    """The number of kills by kind, and whether the run has enough."""

    wanted: int
    by_kind: Counter[str] = field(default_factory=Counter)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())

    def add(self, kind: str) -> None:
        self.by_kind[kind] += 1
        if self.total >= self.wanted:
            self.enough.set()


class Victim(ABC):
    """A process that is killed and started again, at moments given by its own seed."""

    kind: str

    def __init__(self, name: str, servers: Servers, seed: str) -> None:
        self.name = name
        self.servers = servers
        self.seed = seed
        self.chance = random.Random(f"{seed} {name}")
        self.starts = 0

    @abstractmethod
    async def start(self) -> None:
        """Start it, and return when it is ready."""

    @abstractmethod
    async def kill(self) -> None:
        """SIGKILL it, and return when it has ended and all its output was read."""

    async def wait_to_kill(self) -> None:
        """Wait until it is time to kill it."""
        await asyncio.sleep(self.chance.uniform(0.02, READY_S))

    async def be_killed(self, kills: Kills) -> None:
        """Kill and start it again until the run has enough kills; then it is running."""
        while not kills.enough.is_set():
            await self.wait_to_kill()
            if kills.enough.is_set():
                return
            kills.add(self.kind)
            await self.kill()
            if self.chance.random() < EARLY and not kills.enough.is_set():
                kills.add(f"{self.kind} while it started")
                await self._be_killed_early()
            await self.start()

    async def _be_killed_early(self) -> None:
        starting = asyncio.create_task(self.start())
        await asyncio.sleep(self.chance.uniform(0.05, EARLY_S))
        await self.kill()
        # start() may raise because the server did not start, or may just be starting it.
        await asyncio.gather(starting, return_exceptions=True)
        await self.kill()


class ServerVictim(Victim):
    """An ASGI server."""

    kind = "server"

    def __init__(self, name: str, servers: Servers, seed: str, server: str) -> None:
        super().__init__(name, servers, seed)
        self.process: ASGIServer = servers.serve(server)

    async def start(self) -> None:
        self.starts += 1
        await asyncio.to_thread(self.process.start)

    async def kill(self) -> None:
        await asyncio.to_thread(self.process.kill)


class WriterVictim(Victim):
    """A publisher or worker, with its reports in the ledger."""

    def __init__(
        self,
        name: str,
        servers: Servers,
        seed: str,
        ledger: Ledger,
        command: Callable[[str], list[str]],
        kind: str,
    ) -> None:
        super().__init__(name, servers, seed)
        self.kind = kind
        self._ledger = ledger
        self._command = command
        self._tried = asyncio.Event()
        self._ready = asyncio.Event()

    async def start(self) -> None:
        self.starts += 1
        name = f"{self.name}.{self.starts}"
        self.process = await forking.start(
            [sys.executable, *self._command(name)],
            cwd=ROOT,
            env={**self.servers.environment, "PYTHONPATH": str(ROOT)},
            pipes=True,
        )
        self._ready.clear()
        self._reading = asyncio.create_task(self._read(name))
        await self._unless_gone(self._ready)

    async def wait_to_kill(self) -> None:
        """Wait a random time; in every second case also until a transaction has begun."""
        await super().wait_to_kill()
        if self.chance.random() < 0.5:
            self._tried.clear()
            await self._unless_gone(self._tried)
            await asyncio.sleep(self.chance.uniform(0, TRANSACTION_S))

    async def kill(self) -> None:
        self.process.kill()
        await self._reading
        await self.process.wait()

    async def finish(self) -> int:
        """End it cleanly; return its exit status."""
        self.process.end_input()
        await self._reading
        return await self.process.wait()

    async def _unless_gone(self, event: asyncio.Event) -> None:
        """Wait for the event, or for the end of the process."""
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait({waiting, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _read(self, name: str) -> None:
        async for line in self.process.output:
            if line.endswith(b"\n"):
                self._take(name, json.loads(line))

    def _take(self, name: str, report: dict[str, object]) -> None:
        if report["do"] == "ready":
            self._ready.set()
            return
        self._ledger.report(name, report)
        if report["do"] == "try":
            self._tried.set()
