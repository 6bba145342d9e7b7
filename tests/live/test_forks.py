"""Processes that fork after publishing and streaming: each child has its own, and works."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eric_sse_django.database import DatabaseChannel
from tests.databases import on
from tests.event_source import EventSourceClient
from tests.faults.servers import nats_settings
from tests.live import site
from tests.live.asgi_servers import ROOT
from tests.patience import NO_POLL_S

pytestmark = pytest.mark.versions

# Nobody looks by himself while the test runs: what comes was waked for, through Redis or NATS.
ONLY_WAKES = {"POLL_INTERVAL_S": NO_POLL_S, "SQLITE_LOOK_INTERVAL_S": NO_POLL_S}


@pytest.fixture
def common(database, request):
    """Return the options of all servers: their database, and NATS beside SQLite, else Redis."""
    if database == "default":
        nats = request.getfixturevalue("nats_server")
        return {"database": database, "settings": nats_settings(nats.port, **ONLY_WAKES)}
    redis = request.getfixturevalue("redis_server")
    return {"database": database, "redis_port": redis.port, "settings": ONLY_WAKES}


async def sequenced(process):
    """Return which process answers, and how many messages it gave their positions."""
    text = (await site.get(f"{process.url}/metrics/")).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "eric_sse_messages_sequenced_total":
                return sample.labels["pid"], sample.value
    raise AssertionError(text)


@on("sqlite", "postgres")
async def test_workers_of_a_preloaded_gunicorn_publish(database, serve, common):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    streaming = serve("daphne", **common)
    async with EventSourceClient(streaming.url + path) as client:
        await site.until(lambda: client.statuses)
        publishing = serve(
            "gunicorn",
            options=["--preload", "--workers", "2", "--no-control-socket"],
            application="tests.live.preloaded:application",
            **common,
        )
        await client.wait_for(1)
        workers = {}
        number = 0
        while len(workers) < 2 or not all(workers.values()):
            assert number < 400, workers
            for _ in range(4):
                number += 1
                await site.get(f"{publishing.url}/publish/orders/{number}")
            for pid, count in await asyncio.gather(*[sequenced(publishing) for _ in range(4)]):
                workers[pid] = count
        assert str(publishing.pid) not in workers
        await client.wait_for(number + 1)
        assert [record.event.data for record in client.records] == list(
            map(str, range(number + 1))
        )
    status = await site.get(f"{publishing.url}/health/ready/")
    assert json.loads(status)["ready"]


@on("sqlite", "postgres", "mariadb")
async def test_workers_forked_beside_a_hub_and_a_notifier_have_their_own(database, serve, common):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    streaming = serve("uvicorn", **common)
    async with EventSourceClient(streaming.url + path) as client:
        await site.until(lambda: client.statuses)
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.live.prefork", channel.id, "2", "10"),
            cwd=ROOT,
            env=streaming.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(worker.communicate(), 60)
        assert worker.returncode == 0, errors.decode()
        for child in json.loads(output):
            assert child == {
                "pid": child["pid"],
                "hubs": 0,
                "notifier": False,
                "wakes": 0,
                "opened": 0,
            }
        await client.wait_for(22)
        numbers = [int(record.event.data) for record in client.records]
    assert (numbers[0], numbers[-1]) == (0, -1)
    assert sorted(numbers[1:-1]) == list(range(1, 21))
    for share in (range(1, 11), range(11, 21)):
        assert [number for number in numbers if number in share] == list(share)


@on("sqlite", "postgres")
async def test_streams_on_workers_that_were_forked_get_all(database, serve, common):
    channel = await DatabaseChannel.acreate("orders")
    paths = [await site.new_listener(channel) for _ in range(8)]
    process = serve(
        "gunicorn",
        **common,
        options=["--preload", "--workers", "2", "--worker-class", "asgi", "--no-control-socket"],
        application="tests.asgi:application",
    )
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(EventSourceClient(process.url + path))
            for path in paths
        ]
        await site.until(lambda: all(client.statuses for client in clients), 20)
        for number in range(20):
            await site.get(f"{process.url}/publish/orders/{number}")
        for client in clients:
            await client.wait_for(20)
            assert [record.event.data for record in client.records] == list(map(str, range(20)))
            assert client.statuses == [200]
        process.terminate()
        assert process.wait() < 10
    assert process.log.read_text().count("reason=draining") == len(paths)
