"""The run of kills, from the start of its processes to its report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes.nginx import Nginx
from tests.faults.clients import WanderingClient, listening
from tests.faults.ledger import Ledger
from tests.faults.servers import Servers
from tests.faults.stage import build, log_rows
from tests.faults.tally import Tally
from tests.faults.verdict import Row, Verdict, due, judge
from tests.faults.victims import Kills, ServerVictim, Victim, WriterVictim

SERVERS = {"sqlite": ("daphne", "uvicorn"), "postgres": ("uvicorn", "daphne")}
BEHIND_NGINX = ("uvicorn", "daphne") * 2
# Seconds after the last kill within which all published messages have to arrive.
SETTLE_S = 60.0


@dataclass
class Play:
    """One run: its victims, its clients, and their results."""

    servers: Servers
    seed: str
    wanted: int
    clients_wanted: int
    pause_s: float
    show: Callable[[str], None]
    nginx: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    meaning: dict[int, str] = field(default_factory=dict)

    async def run(self) -> dict[str, Any]:
        """Run to the end; return the report, whose `verdict` lists what was lost."""
        began = time.monotonic()
        kills = Kills(self.wanted)
        kinds = SERVERS.get(self.servers.database, ("uvicorn",) * 2)
        servers = [
            ServerVictim(f"server-{number}", self.servers, self.seed, kind)
            for number, kind in enumerate(BEHIND_NGINX if self.nginx else kinds)
        ]
        async with AsyncExitStack() as stack:
            for server in servers:
                stack.callback(server.process.kill)
            await asyncio.gather(*(server.start() for server in servers))
            urls = [server.process.url for server in servers]
            if self.nginx:
                ports = [server.process.port for server in servers]
                urls = [f"http://127.0.0.1:{stack.enter_context(Nginx(ports)).port}"]
            clients = await self._clients(urls)
            await listening(stack, clients)
            writers = [self._publisher(n) for n in range(2)]
            writers += [self._worker(n) for n in range(2)]
            await asyncio.gather(*(writer.start() for writer in writers))
            await self._kill(kills, [*servers, *writers], clients)
            rows = await self._finish(writers, clients)
        tallies = {client.tally: client.listener for client in clients}
        verdict = judge(self.ledger, rows, tallies)
        return self._report(kills, clients, len(rows), verdict, time.monotonic() - began)

    async def _clients(self, urls: list[str]) -> list[WanderingClient]:
        paths = await build(self.clients_wanted)
        return [
            WanderingClient(
                [url + path for url in (urls if number % 2 else urls[::-1])],
                Tally(self.meaning),
                listener,
            )
            for number, (path, listener) in enumerate(paths)
        ]

    def _publisher(self, number: int) -> WriterVictim:
        def command(name: str) -> list[str]:
            return ["-m", "tests.faults.publisher", name, self.seed, str(self.pause_s)]

        name = f"publisher-{number}"
        return WriterVictim(name, self.servers, self.seed, self.ledger, command, "publisher")

    def _worker(self, number: int) -> WriterVictim:
        def command(name: str) -> list[str]:
            return ["-m", "tests.faults.worker"]

        name = f"worker-{number}"
        return WriterVictim(name, self.servers, self.seed, self.ledger, command, "worker")

    async def _kill(
        self, kills: Kills, victims: list[Victim], clients: list[WanderingClient]
    ) -> None:
        async def progress() -> None:
            while True:
                accepted = sum(len(attempt.keys) for attempt in self.ledger.accepted())
                received = sum(len(client.tally) for client in clients)
                wrong = sum(len(client.tally.wrong) for client in clients)
                self.show(
                    f"{kills.total:4d}/{self.wanted} kills · {accepted} messages accepted · "
                    f"{received} received · {wrong} wrong"
                )
                await asyncio.sleep(1)

        showing = asyncio.create_task(progress())
        try:
            await asyncio.gather(*(victim.be_killed(kills) for victim in victims))
        finally:
            showing.cancel()

    async def _finish(
        self, writers: list[WriterVictim], clients: list[WanderingClient]
    ) -> list[Row]:
        """End the writers cleanly, workers last; wait until all clients are served."""
        for kind in ("publisher", "worker"):
            ended = (writer.finish() for writer in writers if writer.kind == kind)
            statuses = await asyncio.wait_for(asyncio.gather(*ended), SETTLE_S)
            if any(statuses):
                raise RuntimeError(f"a {kind} ended with {statuses}: see its traceback above.")
        until = time.monotonic() + SETTLE_S
        while True:
            rows = await log_rows()
            sequenced = all(row.position for row in rows)
            served = all(len(c.tally) >= len(due(rows, c.listener)) for c in clients)
            if (sequenced and served) or time.monotonic() > until:
                return rows
            await asyncio.sleep(0.2)

    def _report(
        self,
        kills: Kills,
        clients: list[WanderingClient],
        rows: int,
        verdict: Verdict,
        seconds: float,
    ) -> dict[str, Any]:
        tallies = [client.tally for client in clients]
        return {
            "database": self.servers.database,
            "seed": self.seed,
            "seconds": round(seconds, 1),
            "kills": {"total": kills.total, **kills.by_kind},
            "clients": len(clients),
            "connections": sum(len(client.statuses) for client in clients),
            "transactions": len(self.ledger.attempts),
            "accepted": sum(len(attempt.keys) for attempt in self.ledger.accepted()),
            "maybe": sum(len(attempt.keys) for attempt in self.ledger.maybe()),
            "rolled_back": sum(len(attempt.keys) for attempt in self.ledger.rolled_back()),
            "errors": [attempt.refused for attempt in self.ledger.errors()][:20],
            "in_the_log": rows,
            "delivered": sum(len(tally) for tally in tallies),
            "repeats": sum(tally.repeats for tally in tallies),
            "verdict": {"good": verdict.good, **verdict.as_dict()},
        }
