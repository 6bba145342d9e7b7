"""Somebody sets the wall clock of running servers: nothing is lost, and order is by position."""

import sys
import time

import pytest

from eric_sse_django import wire
from eric_sse_django.database import DatabaseChannel
from tests.client import StreamClient
from tests.conftest import missing
from tests.databases import on, sqlite_only
from tests.event_source import EventSourceClient
from tests.live import clock as clocks
from tests.live import site

HOUR_S = 3_600

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="before 3.11 Python waits by the kernel's wall clock, which a test cannot set",
)


@pytest.fixture
def clock(tmp_path):
    reason = clocks.absence()
    if reason is not None:
        missing(reason)
    return clocks.Clock(tmp_path)


async def seconds_ahead_of(process):
    """Return the seconds by which a process's clock is ahead of this machine's."""
    headers = {"Connection": "close", "Accept": "*/*"}
    async with await StreamClient.open(f"{process.url}/when", headers=headers) as client:
        return float(await client.read_to_end()) - time.time()


@on("sqlite", "postgres")
async def test_servers_whose_clock_is_set_back_and_forth_lose_nothing(database, serve, clock):
    channel = await DatabaseChannel.acreate("orders")
    kind = "daphne" if database == "default" else "uvicorn"
    process = serve(kind, database=database, environment=clock.environment)
    path, away = [await site.new_listener(channel) for _ in range(2)]
    async with EventSourceClient(process.url + path) as client:
        await site.until(lambda: client.statuses)
        for number in range(60):
            if number % 20 == 0:
                seconds = (HOUR_S, -HOUR_S, 0)[number // 20]
                clock.put_on(seconds)
                assert abs(await seconds_ahead_of(process) - seconds) < 60
            await site.get(f"{process.url}/publish/orders/{number}")
        await client.wait_for(60)
        assert client.statuses == [200]
    async with EventSourceClient(process.url + away) as late:
        await late.wait_for(60)
        for each in (client, late):
            assert [record.event.data for record in each.records] == list(map(str, range(60)))
            assert each.ids == sorted(each.ids, key=int)
            assert {record.event.type for record in each.records} == {"number"}


@sqlite_only
async def test_silence_is_measured_by_no_wall_clock(database, serve, clock):
    channel = await DatabaseChannel.acreate("orders")
    settings = {"HEARTBEAT_S": 1, "MAX_STREAM_AGE_S": 1_800}
    process = serve("daphne", settings=settings, environment=clock.environment)
    path = await site.new_listener(channel)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        for seconds in (-HOUR_S, HOUR_S):
            clock.put_on(seconds)
            await client.until_body_has(client.body + wire.HEARTBEAT)
        assert not client.ended
