"""Processes that are killed at random moments, and started again, until it is enough."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.ground import Ground
from tests.faults.ledger import Ledger
from tests.faults.mortal import mortal
from tests.live.asgi_servers import ROOT, ASGIServer

# Seconds within which a process is killed: after it works, after a transaction began, and
# (one of eight) after it was started.
LIFE_S = 2.0
AMID_S = 0.01
EARLY_S = 1.0
EARLY = 0.125


@dataclass
class Kills:
    """How many there were, of what, and whether that is enough."""

    wanted: int
    of: Counter[str] = field(default_factory=Counter)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def total(self) -> int:
        return sum(self.of.values())

    def add(self, kind: str) -> None:
        self.of[kind] += 1
        if self.total >= self.wanted:
            self.enough.set()


class Victim(ABC):
    """A process that lives, is killed and lives again. Its moments come from its own seed."""

    kind: str

    def __init__(self, name: str, ground: Ground, seed: str) -> None:
        self.name = name
        self.ground = ground
        self.seed = seed
        self.chance = random.Random(f"{seed} {name}")
        self.lives = 0

    @abstractmethod
    async def start(self) -> None:
        """Start it, and return when it works."""

    @abstractmethod
    async def kill(self) -> None:
        """SIGKILL it, and return when it is gone and all it said was heard."""

    async def moment(self) -> None:
        """Wait for the moment to kill it."""
        await asyncio.sleep(self.chance.uniform(0.02, LIFE_S))

    async def be_killed(self, kills: Kills) -> None:
        """Be killed and started again until there were enough; it then lives."""
        while not kills.enough.is_set():
            await self.moment()
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
        # It may be told that the server did not come up; or have been just before its start.
        await asyncio.gather(starting, return_exceptions=True)
        await self.kill()


class ServerVictim(Victim):
    """An ASGI server."""

    kind = "server"

    def __init__(self, name: str, ground: Ground, seed: str, server: str) -> None:
        super().__init__(name, ground, seed)
        self.process: ASGIServer = ground.serve(server)

    async def start(self) -> None:
        self.lives += 1
        await asyncio.to_thread(self.process.start)

    async def kill(self) -> None:
        await asyncio.to_thread(self.process.kill)


class WriterVictim(Victim):
    """A publisher or worker, and what it says, in the ledger."""

    def __init__(
        self,
        name: str,
        ground: Ground,
        seed: str,
        ledger: Ledger,
        command: Callable[[str], list[str]],
        kind: str,
    ) -> None:
        super().__init__(name, ground, seed)
        self.kind = kind
        self._ledger = ledger
        self._command = command
        self._said = asyncio.Event()
        self._ready = asyncio.Event()

    async def start(self) -> None:
        self.lives += 1
        name = f"{self.name}.{self.lives}"
        self.process = await asyncio.create_subprocess_exec(
            *mortal([sys.executable, *self._command(name)]),
            cwd=ROOT,
            env={**self.ground.environment, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._ready.clear()
        self._hearing = asyncio.create_task(self._hear(name))
        await self._unless_gone(self._ready)

    async def moment(self) -> None:
        """At any time of its life; every second time right after it began a transaction."""
        await super().moment()
        if self.chance.random() < 0.5:
            self._said.clear()
            await self._unless_gone(self._said)
            await asyncio.sleep(self.chance.uniform(0, AMID_S))

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self._hearing
        await self.process.wait()

    async def finish(self) -> int:
        """Have it end in order; return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self._hearing
        return await self.process.wait()

    async def _unless_gone(self, event: asyncio.Event) -> None:
        """Wait for the event, or for the end of the process."""
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait({waiting, self._hearing}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _hear(self, name: str) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.endswith(b"\n"):
                self._take(name, json.loads(line))

    def _take(self, name: str, report: dict[str, object]) -> None:
        if report["do"] == "ready":
            self._ready.set()
            return
        self._ledger.report(name, report)
        if report["do"] == "try":
            self._said.set()
