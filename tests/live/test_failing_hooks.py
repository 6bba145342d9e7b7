"""An adapt() that fails on a real server: live and out of the log, its own streams alone."""

import asyncio
import time

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live import site
from tests.live.asgi_servers import SERVERS

OPTIONS = {"hypercorn": ["-w", "0"]}
SETTINGS = {
    "CHANNEL_CLASS": "tests.live.picky.Picky",
    "HOOK_TIMEOUT_S": 0.5,
    "SQLITE_LOOK_INTERVAL_S": 0.02,
    "RETRY_MS": 200,
}
# Seconds within which others get a message while an adapt() hangs.
PROMPT_S = 2.0


@sqlite_only
@pytest.mark.parametrize("how", ["raise", "hang"])
@pytest.mark.parametrize("server", SERVERS)
async def test_a_message_that_has_no_event_ends_its_own_streams(database, serve, server, how):
    failing, beside = [await DatabaseChannel.acreate(name) for name in ("failing", "beside")]
    paths = [await site.new_listener(channel) for channel in (failing, failing, beside)]
    process = serve(server, options=OPTIONS.get(server, ()), settings=SETTINGS)

    async def others_get(number):
        began = time.monotonic()
        await beside.abroadcast(Message("n", number))
        assert (await client.event()).data == str(number)
        assert time.monotonic() - began < PROMPT_S

    async with await StreamClient.open(process.url + paths[2]) as client:
        ends = [await StreamClient.open(process.url + path) for path in paths[:2]]
        for end in ends:
            await end.until_body_has(b"ok")
        await failing.abroadcast(Message("n", "good"))
        for end in ends:
            assert (await end.event()).data == '"good"'
        await failing.abroadcast(Message("n", how))
        await failing.abroadcast(Message("n", "after"))
        for number in range(5):
            await others_get(number)
        for end in ends:
            body = await asyncio.wait_for(end.read_to_end(), 10)
            assert b"after" not in body
            assert b"retry: " in body  # politely
        # Out of the log it is the same.
        again = await StreamClient.open(process.url + paths[0])
        body = await asyncio.wait_for(again.read_to_end(), 10)
        assert b"after" not in body
        await others_get(5)
        for end in (*ends, again):
            end.close()
    log = process.log.read_text(errors="replace")
    assert log.count("a message has no event") == 1
    assert log.count("reason=error") == 3
    assert "Traceback" not in log
