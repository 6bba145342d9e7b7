"""The run of kills of workers and servers, from the start of its processes to its report."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from tests.client import StreamEnded
from tests.faults.ledger import Ledger
from tests.faults.runs import stage
from tests.faults.runs.clients import AgUiClient, AiSdkClient, PlainClient, RunClient
from tests.faults.runs.verdict import Verdict, judge
from tests.faults.servers import Servers
from tests.faults.victims import Kills, ServerVictim, WriterVictim

# Seconds between two chunks of a run.
PAUSE_S = 0.02
# Seconds after the last kill within which runs have to end, and clients have to get all.
SETTLE_S = 120.0
# Seconds for which a worker may wait for a run before it is killed.
TAKEN_S = 3.0
# Every so many runs one is stopped, so many seconds after its start.
STOPPED_EVERY = 10
STOPPED_AFTER_S = 12.0
SITE = {"DJANGO_SETTINGS_MODULE": "tests.live.runs_settings"}


class Worker(WriterVictim):
    """A worker; its report of a run that it took is a moment at which it may be killed."""

    taken = 0

    async def wait_to_kill(self) -> None:
        """As it does, but not until a run is taken: there may be none."""
        await asyncio.wait({asyncio.create_task(super().wait_to_kill())}, timeout=TAKEN_S)

    def _take(self, name: str, report: dict[str, object]) -> None:
        if report["do"] == "try":
            self.taken += 1
            self._tried.set()
        elif report["do"] == "error":
            self.errors.append(str(report["error"]))
        else:
            super()._take(name, report)

    def __init__(self, name: str, servers: Servers, seed: str) -> None:
        super().__init__(
            name, servers, seed, Ledger(), lambda _: ["-m", "tests.faults.runs.worker"], "worker"
        )
        self.errors: list[str] = []


@dataclass
class Play:
    """One run of kills: its victims, its clients, and their results."""

    servers: Servers
    seed: str
    runs: int
    kills: int
    words: int
    show: Callable[[str], None]
    clients: list[RunClient] = field(default_factory=list)

    async def run(self) -> dict[str, Any]:
        """Run to the end; return the report, whose `verdict` lists what differed."""
        began = time.monotonic()
        environment = {**self.servers.environment, **SITE}
        serving = replace(self.servers, environment=environment)
        servers = [
            ServerVictim(f"server-{n}", serving, self.seed, kind)
            for n, kind in enumerate(("uvicorn", "daphne"))
        ]
        workers = [Worker(f"worker-{n}", self.servers, self.seed) for n in range(2)]
        kills = {"server": Kills(self.kills), "worker": Kills(self.kills)}
        self.urls = [server.process.url for server in servers]
        self.cookie = await stage.cookie()
        async with AsyncExitStack() as stack:
            for server in servers:
                stack.callback(server.process.kill)
            await asyncio.gather(*(each.start() for each in (*servers, *workers)))
            for worker in workers:
                stack.push_async_callback(worker.kill)
            following = asyncio.create_task(self._follow(kills))
            showing = asyncio.create_task(self._show(kills))
            victims = [each.be_killed(kills[each.kind]) for each in (*servers, *workers)]
            await asyncio.gather(*victims)
            await asyncio.wait({following}, timeout=SETTLE_S)
            showing.cancel()
            following.cancel()
            await asyncio.gather(following, showing, return_exceptions=True)
        verdict = judge(await stage.rows(), self.clients, self.words)
        verdict.expect_runs(self.runs)
        return await self._report(kills, workers, verdict, time.monotonic() - began)

    async def _follow(self, kills: dict[str, Kills]) -> None:
        """Start the runs one after the other, spread over the kills, and follow each."""
        tasks = []
        for number in range(self.runs):
            # The last ones begin before the last kills.
            while self._progress(kills) < 0.95 * number / self.runs:
                await asyncio.sleep(0.05)
            tasks.append(asyncio.create_task(self._one(number)))
        await gathered(tasks)

    def _progress(self, kills: dict[str, Kills]) -> float:
        return min(each.total / each.wanted if each.wanted else 1 for each in kills.values())

    async def _one(self, number: int) -> None:
        """Start one run by its AG-UI client, and follow it with all three."""
        thread = f"chat-{number}"
        agent = AgUiClient(self.urls, self.cookie, thread, f"{self.words} {PAUSE_S}")
        chat = AiSdkClient(self.urls, self.cookie, thread)
        self.clients += [agent, chat]
        tasks = [asyncio.create_task(each.follow()) for each in (agent, chat)]
        tasks.append(asyncio.create_task(self._attach(number, chat)))
        await gathered(tasks)

    async def _attach(self, number: int, chat: AiSdkClient) -> None:
        """Follow a run by its plain door, once it has begun; stop it, if it is one of those."""
        while (run_id := await stage.run_of(chat.thread)) is None:
            await asyncio.sleep(0.1)
        # Of a run that has ended: a page has its id with its messages.
        chat.run_id = run_id
        plain = PlainClient(self.urls, self.cookie, chat.thread, run_id)
        self.clients.append(plain)
        tasks = [asyncio.create_task(plain.follow())]
        if number % STOPPED_EVERY == STOPPED_EVERY - 1:
            tasks.append(asyncio.create_task(self._stop(chat, run_id)))
        await gathered(tasks)

    async def _stop(self, chat: AiSdkClient, run_id: str) -> None:
        """Stop a run by its door after a while, at whichever server answers."""
        chance = random.Random(f"{self.seed} {chat.thread}")
        await asyncio.sleep(chance.uniform(0, STOPPED_AFTER_S))
        for url in self.urls * 200:
            with suppress(OSError, EOFError, asyncio.TimeoutError, StreamEnded):
                stop = f"{url}/api/chat/{chat.thread}/stop"
                async with await chat.post(stop, {"run": run_id}) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)

    async def _show(self, kills: dict[str, Kills]) -> None:
        while True:
            done = sum(client.is_complete for client in self.clients)
            wrong = sum(len(client.wrong) for client in self.clients)
            counts = " · ".join(f"{each.total} {kind}s killed" for kind, each in kills.items())
            self.show(f"{counts} · {done} of {len(self.clients)} clients done · {wrong} wrong")
            await asyncio.sleep(1)

    async def _report(
        self,
        kills: dict[str, Kills],
        workers: list[Worker],
        verdict: Verdict,
        seconds: float,
    ) -> dict[str, Any]:
        rows = await stage.rows()
        epochs = [row.epoch for row in rows] or [0]
        by_kind = {kind: n for each in kills.values() for kind, n in each.by_kind.items()}
        return {
            "database": self.servers.database,
            "seed": self.seed,
            "seconds": round(seconds, 1),
            "kills": by_kind,
            "runs": len(rows),
            "statuses": {
                status: sum(row.status == status for row in rows)
                for status in sorted({row.status for row in rows})
            },
            "producers_of_a_run": {
                "median": statistics.median(epochs),
                "most": max(epochs),
                "all": sum(epochs),
            },
            "clients": len(self.clients),
            "connections": sum(client.connections for client in self.clients),
            "characters": sum(len(client.text) for client in self.clients),
            "errors": [error for worker in workers for error in worker.errors][:20],
            "verdict": {"good": verdict.good, **verdict.as_dict()},
        }


async def gathered(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all tasks; cancel those that are left if one fails."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
