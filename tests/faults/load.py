"""Publishing and listening that continue while a test breaks something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.db import connections

from tests.faults.clients import WanderingClient, listening
from tests.faults.ledger import Ledger
from tests.faults.servers import Servers
from tests.faults.stage import build, log_rows
from tests.faults.tally import Tally
from tests.faults.verdict import Verdict, due, judge
from tests.faults.victims import WriterVictim
from tests.live import site
from tests.live.asgi_servers import ASGIServer

# Seconds within which all accepted messages have to arrive after the fault has ended.
SETTLE_S = 30.0


@dataclass
class Load:
    """Clients of one server, a publisher with all kinds of transactions, and a worker."""

    ledger: Ledger
    clients: list[WanderingClient]
    writers: list[WriterVictim]

    def accepted(self) -> int:
        """Return the number of transactions accepted so far."""
        return len(self.ledger.accepted())

    def errors(self) -> list[str]:
        """Return the errors that publishers got for what was not accepted."""
        return [str(attempt.refused) for attempt in self.ledger.errors()]

    async def until_accepted(self, more: int = 10, timeout_s: float = SETTLE_S) -> None:
        """Return when `more` transactions were accepted from now on."""
        wanted = self.accepted() + more
        await site.until(lambda: self.accepted() >= wanted, timeout_s)

    async def finish(self) -> Verdict:
        """End the writers, wait until everything is delivered, and return what was lost."""
        for writer in self.writers:
            assert await asyncio.wait_for(writer.finish(), SETTLE_S) == 0
        until = time.monotonic() + SETTLE_S
        while True:
            rows = await log_rows()
            served = all(len(c.tally) >= len(due(rows, c.listener)) for c in self.clients)
            done = served and all(row.position for row in rows)
            if done or time.monotonic() > until:
                return judge(self.ledger, rows, {c.tally: c.listener for c in self.clients})
            await asyncio.sleep(0.1)

    def stayed_open(self) -> bool:
        """Whether no client's connection ended or was refused."""
        return all(client.statuses == [200] for client in self.clients)


@asynccontextmanager
async def load(
    server: ASGIServer, clients: int = 10, pause_s: float = 0.02, seed: str = "load"
) -> AsyncIterator[Load]:
    """Start all with a running server, on the database of the running test."""
    meaning: dict[int, str] = {}
    servers = Servers("", server.environment, {})
    ledger = Ledger()

    def writer(kind: str, *arguments: str) -> WriterVictim:
        def command(name: str) -> list[str]:
            return ["-m", f"tests.faults.{kind}", *([name, *arguments] if arguments else [])]

        return WriterVictim(kind, servers, seed, ledger, command, kind)

    async with AsyncExitStack() as stack:
        listeners = [
            WanderingClient([server.url + path], Tally(meaning), listener)
            for path, listener in await build(clients)
        ]
        await listening(stack, listeners)
        # An open connection would delay a database that stops.
        await sync_to_async(connections.close_all)()
        writers = [writer("publisher", seed, str(pause_s)), writer("worker")]
        for one in writers:
            stack.push_async_callback(one.kill)
            await one.start()
        yield Load(ledger, listeners, writers)
