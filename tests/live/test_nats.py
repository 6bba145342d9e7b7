"""Two server processes with NATS between them, while its servers fail, hang or are abused."""

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack, contextmanager

import pytest

from eric_sse_django.database import DatabaseChannel
from tests import servers
from tests.conftest import missing
from tests.databases import postgres_only
from tests.event_source import EventSourceClient
from tests.live import site
from tests.live.test_health import until_red
from tests.patience import NO_POLL_S
from tests.streams.test_nats import Forger

# What comes in time, came by NATS.
NO_POLL = {"POLL_INTERVAL_S": NO_POLL_S}


def fabric(*urls, **options):
    backend = "eric_sse_django.wakes.nats.NatsFabric"
    return {"FABRIC": {"BACKEND": backend, "LOCATION": urls, "OPTIONS": options}}


@pytest.fixture(autouse=True)
def installed():
    if (reason := servers.Nats.absence()) is not None:
        missing(reason)


@contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Pair:
    """Two processes, each with a client of the channel `orders`; either publishes to it."""

    def __init__(self, serve, database, settings):
        self.processes = [serve("uvicorn", database=database, settings=settings) for _ in range(2)]
        self.count = 0

    async def __aenter__(self):
        self.channel = await DatabaseChannel.acreate("orders")
        self.stack = AsyncExitStack()
        self.clients = []
        for process in self.processes:
            client = EventSourceClient(process.url + await site.new_listener(self.channel))
            self.clients.append(await self.stack.enter_async_context(client))
        await site.until(lambda: all(client.statuses for client in self.clients))
        return self

    async def __aexit__(self, *exc):
        await self.stack.aclose()

    async def publish(self, count, wait=True):
        """Publish numbers through one process and the other in turns."""
        for _ in range(count):
            await site.get(f"{self.processes[self.count % 2].url}/publish/orders/{self.count}")
            self.count += 1
        if wait:
            await self.all_came()

    async def all_came(self):
        for client in self.clients:
            await client.wait_for(self.count)
            numbers = [record.event.data for record in client.records]
            assert numbers == [str(number) for number in range(self.count)]
            assert client.statuses == [200]

    async def until_red(self, *parts):
        for process in self.processes:
            await until_red(process, set(parts))

    def logged(self, text):
        return [process.log.read_text().count(text) for process in self.processes]


@postgres_only
@pytest.mark.parametrize("carry", ["channels", "messages"])
async def test_messages_reach_the_streams_of_another_process_whatever_is_forged(
    database, serve, nats_server, carry
):
    space = f"{database}-{carry}-{os.getpid()}"
    settings = {**NO_POLL, "WAKES_CARRY": carry, **fabric(nats_server.url, namespace=space)}
    async with Pair(serve, database, settings) as pair:
        await pair.publish(10)
        wake = {"type": "eric.wake", "sender": "x", "v": 1}
        forged = [
            b"\xff",
            b"[" * 50_000,
            json.dumps(wake).encode(),
            *(json.dumps({**wake, "segments": text}).encode() for text in ("", "[]:a:b", 7)),
        ]
        async with Forger(nats_server.url) as forger:
            for data in forged:
                for subject in ("all", str(pair.channel.row.pk)):
                    await forger.sends(f"{space}.{subject}", data)
        await pair.publish(4)
        await pair.until_red()
    assert max(pair.logged("a wake was refused")) <= 1
    assert pair.logged(" failed") == [0, 0]
    assert pair.logged("Traceback") == [0, 0]


@postgres_only
async def test_servers_of_a_cluster_end_one_by_one_and_all_at_once(database, serve):
    with servers.NatsCluster() as cluster:
        async with Pair(serve, database, fabric(*cluster.urls)) as pair:
            await pair.until_red()
            for each in cluster.servers:
                await asyncio.to_thread(each.kill)
                await pair.publish(2)
                await asyncio.to_thread(cluster.start)
            await pair.until_red()
            for each in cluster.servers:
                await asyncio.to_thread(each.kill)
            await pair.publish(2)
            await pair.until_red("layer")
            await pair.publish(2)
            await asyncio.to_thread(cluster.start)
            await pair.until_red()
            await pair.publish(2)
        # Once for each outage, however long.
        assert max(pair.logged("receiving wakes of other processes failed")) <= 4


@postgres_only
async def test_a_server_that_hangs_is_noticed_and_used_again(database, serve):
    with servers.Nats() as server:
        async with Pair(serve, database, fabric(server.url)) as pair:
            await pair.publish(2)
            with stopped(server.process.pid):
                await pair.publish(4)
                await pair.until_red("layer")
                await pair.publish(2)
            await pair.until_red()
            await pair.publish(2)
    assert pair.logged("receiving wakes of other processes failed") == [1, 1]


@postgres_only
async def test_a_process_that_was_too_slow_reads_the_log(database, serve):
    # Below what the kernel takes of the server's for a process that reads nothing.
    config = 'max_pending: 1048576\nwrite_deadline: "200ms"\n'
    with servers.Nats(config=config) as server:
        settings = {**NO_POLL, **fabric(server.url)}
        async with Pair(serve, database, settings) as pair, Forger(server.url) as forger:
            await pair.publish(2)
            log = server.log.read_text
            with stopped(pair.processes[1].pid):
                while "Slow Consumer" not in log():
                    await forger.sends("eric_sse.all", b" " * 500_000)
                url = pair.processes[0].url
                for number in range(2, 6):
                    await site.get(f"{url}/publish/orders/{number}")
            pair.count = 6
            await pair.all_came()
