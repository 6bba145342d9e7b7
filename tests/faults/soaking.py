"""The long run: streams that reconnect, publishing of all kinds, samples of the server."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import sync_to_async

from tests.faults.clients import WanderingClient
from tests.faults.ledger import Ledger
from tests.faults.load import Load, load
from tests.faults.servers import Servers
from tests.faults.verdict import Row, Verdict, judge
from tests.faults.writing import listener_of
from tests.live import site
from tests.live.asgi_servers import ASGIServer


@dataclass
class Soak:
    """One run of `seconds`; `samples` has its figures, one every `every_s`."""

    servers: Servers
    server: str
    streams: int
    seconds: float
    every_s: float
    churn_s: float
    pause_s: float
    show: Callable[[str], None]
    samples: list[dict[str, float]] = field(default_factory=list)

    async def run(self) -> Verdict:
        """Run to the end; return what was lost."""
        process = self.servers.serve(self.server)
        await asyncio.to_thread(process.start)
        async with AsyncExitStack() as stack:
            stack.callback(process.log.unlink)
            stack.callback(process.kill)
            under_load = await stack.enter_async_context(
                load(process, self.streams, pause_s=self.pause_s, seed="soak")
            )
            churning = asyncio.create_task(self._churn(under_load.clients))
            began = time.monotonic()
            while time.monotonic() - began < self.seconds:
                await asyncio.sleep(self.every_s)
                await self._sample(process, under_load, time.monotonic() - began)
            churning.cancel()
            await asyncio.gather(churning, return_exceptions=True)
            await under_load.finish()  # its own verdict needs rows that retention removed
            return verdict_of(under_load)

    async def _churn(self, clients: list[WanderingClient]) -> None:
        """Disconnect one client after another, at random; each reconnects by itself."""
        while True:
            await asyncio.sleep(random.uniform(0, 2 * self.churn_s))
            stream = random.choice(clients).stream
            if stream is not None and not stream.ended:
                random.choice((stream.close, stream.abort))()

    async def _sample(self, process: ASGIServer, under_load: Load, at_s: float) -> None:
        held = await site.counters(process)
        delivered = sum(len(client.tally) for client in under_load.clients)
        before = self.samples[-1] if self.samples else {"at_s": 0.0, "delivered": 0.0}
        sample = {
            "at_s": round(at_s, 1),
            "memory_mb": round(held["memory"] / 1_000_000, 1),
            "tasks": held["tasks"],
            "threads": held["threads"],
            "files": held["files"],
            "streams": sum(client.is_open for client in under_load.clients),
            "delivered": delivered,
            "delivered_s": round((delivered - before["delivered"]) / (at_s - before["at_s"]), 1),
            **await in_the_database(self.servers.database),
        }
        self.samples.append(sample)
        self.show(
            f"{at_s / 60:5.1f} min · {sample['memory_mb']} MB · {sample['tasks']:.0f} tasks · "
            f"{sample['rows']:.0f} rows · {delivered} delivered"
        )


@sync_to_async
def in_the_database(kind: str) -> dict[str, float]:
    """Return the current numbers of rows and connections."""
    from django.db import connection

    from eric_sse_django.models import OpenStream, QueuedMessage

    connections = 0
    if kind == "postgres":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE client_port IS NOT NULL")
            connections = cursor.fetchone()[0]
    return {
        "rows": QueuedMessage.objects.count(),
        "stream_rows": OpenStream.objects.count(),
        "connections": connections,
    }


def verdict_of(under_load: Load) -> Verdict:
    """
    Judge by what all clients received together, because retention removes rows of the log.

    An accepted message that reached no client still counts as lost.
    """
    meaning = under_load.clients[0].tally.meaning
    rows = [Row(id, key, listener_of(key)) for id, key in meaning.items()]
    known = Ledger()
    jobs = {key for key in meaning.values() if key.startswith("done:")}
    known.attempts = [a for a in under_load.ledger.attempts if not a.keys[0].startswith("job:")]
    verdict = judge(known, rows, {c.tally: c.listener for c in under_load.clients})
    for attempt in under_load.ledger.accepted():
        for key in attempt.keys:
            if key.startswith("job:") and f"done:{key}" not in jobs:
                verdict.add("lost", f"{key} was never done")
    return verdict


def figures(seconds: float, retention_s: float, database: str) -> list[str]:
    """Return the names of the figures that have to be flat in a run of that length."""
    names = ["memory_mb", "tasks", "threads", "files", "stream_rows"]
    if seconds > 8 * retention_s:  # else no row is removed yet when the second quarter begins
        names.append("rows")
    if database == "postgres":
        names.append("connections")
    return names


def report_of(soak: Soak, verdict: Verdict, not_flat: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a run."""
    return {
        "database": soak.servers.database,
        "server": soak.server,
        "streams": soak.streams,
        "minutes": round(soak.seconds / 60, 1),
        "first_sample": soak.samples[0],
        "last_sample": soak.samples[-1],
        "not_flat": not_flat,
        "verdict": {"good": verdict.good, **verdict.as_dict()},
        "samples": soak.samples,
    }
