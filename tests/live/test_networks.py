"""Connections are cut, stall or go dark: what was published arrives."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest

from eric_sse_django.database import DatabaseChannel
from tests.conftest import missing
from tests.databases import sqlite_only
from tests.faults import command, namespace
from tests.faults.crowd import all_have, assert_numbers, crowd, publishing
from tests.faults.proxy import Proxy
from tests.faults.scale import sized
from tests.live import site

CLIENTS = sized(100, 1_000)
CUTS = sized(3, 10)
CUT_S = sized(1.0, 2.0)
# Messages a second: what one process can carry through a proxy to all its clients, and read.
RATE = sized(20, 4)


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_clients_that_are_cut_again_and_again_get_everything(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve(server, settings={"RETRY_MS": sized(200, 1_000)})
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(process.port))
        clients = await crowd(stack, proxy.url + path, CLIENTS)
        async with publishing(channel, RATE) as published:
            for _ in range(CUTS):
                # Most are back; some are just reading what they missed, some on their way.
                await site.until(lambda: sum(one.is_open for one in clients) > 0.9 * CLIENTS, 60)
                await asyncio.sleep(0.5)
                assert proxy.cut() > CLIENTS / 2
                await asyncio.sleep(CUT_S)
                proxy.repair()
        count = published[0]
        await all_have(clients, count, 60)
        assert_numbers(clients, count)
        connections = sum(len(client.statuses) for client in clients)
        print(f"{server}: {count} messages to {CLIENTS} clients over {connections} connections")
        assert connections > CUTS * CLIENTS / 2
        assert {status for client in clients for status in client.statuses} == {200}


@sqlite_only
async def test_a_link_that_stalls_for_a_while_delivers_over_the_same_connection(database, serve):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    process = serve("uvicorn")
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(process.port))
        clients = await crowd(stack, proxy.url + path, 10)
        proxy.hold()
        await (await site.publisher(process, channel, 50)).wait()
        assert all(len(client.tally) == 0 for client in clients)
        proxy.repair()
        await all_have(clients, 50, 10)
        assert_numbers(clients, 50)
        assert all(client.statuses == [200] for client in clients)


def test_a_link_that_went_dark_is_closed_within_the_heartbeat_and_the_deadline(tmp_path):
    reason = namespace.absence("net", "ip")
    if reason is not None:
        missing(reason)

    def report_of(server):
        options = ("--server", server, "--heartbeat", "1", "--deadline", "1", "--give-up", "20")
        (tmp_path / server).mkdir()
        return command.run(
            "tests.faults.dark", *options, directory=tmp_path / server, timeout_s=60
        )

    with ThreadPoolExecutor() as pool:  # mostly they wait
        reports = list(pool.map(report_of, ["daphne", "uvicorn", "hypercorn"]))
    for report in reports:
        assert report["status"] == 0, report
        assert report["other_client_got_all"], report
        assert report["gone_after_s"] > 1  # not by the route's going: by the kernel's patience
