"""Parts of a running site fail and recover: ready/ reports it in time, the log once."""

import asyncio
import json
import signal
import time
from contextlib import asynccontextmanager, suppress

import psutil
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from prometheus_client.parser import text_string_to_metric_families

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import on, sqlite_only
from tests.live import site

# Seconds within which a dead part must be reported: the parts' limits, and a busy machine.
BOUND_S = 8.0
# Seconds after which a part that works again must be green: it is tried every 5 s.
BACK_S = 30.0


async def get(url):
    """Return status, JSON and the seconds it took."""
    began = time.monotonic()
    headers = {"Connection": "close", "Accept": "*/*"}
    async with await StreamClient.open(url, headers=headers, timeout_s=20) as client:
        body = await client.read_to_end(20)
        return client.status, json.loads(body), time.monotonic() - began


async def ready(process, query=""):
    """Return the status, and the names of the parts that do not work; within BOUND_S."""
    status, answer, seconds = await get(f"{process.url}/health/ready/{query}")
    assert seconds < BOUND_S, answer
    red = {name for name, part in answer["parts"].items() if not part["works"]}
    assert status == (503 if red else 200)
    assert answer["ready"] == (not red)
    return status, red


async def until_red(process, red, perhaps=frozenset()):
    """Return once just these parts do not work; those that are `perhaps` in trouble may be."""
    found = None

    async def wait():
        nonlocal found
        while (found := (await ready(process))[1]) - perhaps != red:
            await asyncio.sleep(0.1)

    try:
        await asyncio.wait_for(wait(), BACK_S)
    except asyncio.TimeoutError:
        pytest.fail(f"{found} do not work, not {red}. {process.logged()}")


@asynccontextmanager
async def down(server):
    """Stop a server, and start it again at the end, whatever happens in between."""
    await sync_to_async(connections.close_all)()
    await asyncio.to_thread(server.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


def logged(process, part):
    """Return how often the log has that a part failed, and that it works again."""
    log = process.log.read_text()
    return log.count(f"health: {part} does not work"), log.count(f"health: {part} works again")


@on("postgres")
async def test_a_database_that_restarts_is_red_and_green_again(database, serve, database_servers):
    channel = await DatabaseChannel.acreate("orders")
    process = serve("uvicorn", database=database)
    path = await site.new_listener(channel)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        await until_red(process, set())
        async with down(database_servers["postgres"]):
            await until_red(process, {"database", "hub"})
            for _ in range(20):
                assert (await ready(process))[0] == 503
            status, answer, _ = await get(f"{process.url}/health/live/")
            assert (status, answer) == (200, {"live": True})
        await until_red(process, set())
        await channel.abroadcast(Message("number", 1))
        assert (await client.event(10)).data == "1"
    assert logged(process, "database") == logged(process, "hub") == (1, 1)


def signal_all(family, number):
    for member in family:
        with suppress(psutil.NoSuchProcess):  # a connection's, which had ended
            member.send_signal(number)


@on("postgres")
async def test_a_database_that_hangs_is_red_within_the_bound(database, serve, database_servers):
    process = serve("uvicorn", database=database)
    await until_red(process, set())
    await sync_to_async(connections.close_all)()
    postgres = psutil.Process(database_servers["postgres"].process.pid)
    postgres.send_signal(signal.SIGSTOP)  # the first, so that it has no more children
    family = [postgres, *postgres.children(recursive=True)]
    signal_all(family, signal.SIGSTOP)
    try:
        await until_red(process, {"database"})
        began = time.monotonic()
        for _ in range(10):
            assert await ready(process) == (503, {"database"})
        # The first has waited for all: 30 s otherwise.
        assert time.monotonic() - began < 20
    finally:
        signal_all(family, signal.SIGCONT)
    await until_red(process, set())
    assert logged(process, "database") == (1, 1)


@on("postgres")
@pytest.mark.parametrize("layer", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
async def test_a_layer_that_restarts_is_red_and_green_again(database, serve, redis_server, layer):
    channel = await DatabaseChannel.acreate("orders")
    hosts = {"hosts": [("127.0.0.1", redis_server.port)]}
    layer = {"BACKEND": f"channels_redis.{layer}", "CONFIG": hosts}
    process = serve("daphne", database=database, layer=layer)
    path = await site.new_listener(channel)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        await until_red(process, set())
        async with down(redis_server):
            await until_red(process, {"layer"})
            for _ in range(20):
                assert await ready(process) == (503, {"layer"})
            # Messages come all the same, so a load balancer need not mind.
            assert await ready(process, "?exclude=layer") == (200, set())
            await channel.abroadcast(Message("number", 1))
            assert (await client.event()).data == "1"
        await until_red(process, set())
    assert logged(process, "layer") == (1, 1)


@on("postgres")
async def test_a_process_that_only_publishes_has_the_same_health_check(
    database, serve, redis_server, database_servers
):
    await DatabaseChannel.acreate("orders")
    process = serve("wsgiref", database=database, redis_port=redis_server.port)
    status, answer, _ = await get(f"{process.url}/health/ready/")
    assert status == 200
    assert {name: part["says"] for name, part in answer["parts"].items()} == {
        "hub": "no streams here",
        "notifier": "nothing to do yet",
        "database": "answers",
        "layer": "the channel layer answers",
    }
    await site.get(f"{process.url}/publish/orders/1")
    _, answer, _ = await get(f"{process.url}/health/ready/")
    assert answer["parts"]["notifier"]["says"] == "sequences"
    async with down(database_servers["postgres"]):
        # What was published last may not have its position yet.
        await until_red(process, {"database"}, perhaps={"notifier"})
    await until_red(process, set())


@sqlite_only
async def test_a_servers_metrics_are_those_of_its_streams(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    process = serve("daphne")
    path = await site.new_listener(channel)
    async with await StreamClient.open(process.url + path) as client:
        await channel.abroadcast(Message("number", 1))
        assert (await client.event()).data == "1"
        text = (await site.get(f"{process.url}/metrics/")).decode()
    found = {
        (sample.name, sample.labels["pid"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["eric_sse_streams", str(process.pid)] == 1
    assert found["eric_sse_messages_delivered_total", str(process.pid)] == 1
    assert found["eric_sse_delivery_delay_seconds_count", str(process.pid)] >= 1
