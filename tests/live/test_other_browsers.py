"""The client in Firefox and WebKit, where they are installed, through nginx."""

from __future__ import annotations

import json

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import acursor
from tests.databases import sqlite_only
from tests.live import site, tabs
from tests.live.other_browsers import firefox, wait_for, webkit

pytestmark = [sqlite_only, pytest.mark.slow]


async def streams(url):
    return json.loads(await site.get(f"{url}/streams"))["open"]


@pytest.mark.parametrize("start", [firefox, webkit])
async def test_tabs_share_a_stream_and_lose_nothing_in_a_deploy(
    database, serve, proxy, tmp_path, start
):
    async with start(tmp_path) as browser:
        channel = await DatabaseChannel.acreate("orders")
        server = serve("daphne", application=tabs.SITE, settings={"RETRY_MS": 200})
        url, at = proxy(server), await acursor()

        async def publish(number):
            await channel.abroadcast(Message("n", number))

        async def all_have(pages, *numbers):
            for page in pages:
                await wait_for(browser, page, f"got.length >= {len(numbers)}")
                assert await browser.evaluate(page, "got") == list(numbers)

        await publish(1)
        pages = [await browser.tab(f"{url}/tab?at={at}") for _ in range(2)]
        await all_have(pages, 1)
        assert await streams(url) == 1
        server.kill()
        for page in pages:
            await wait_for(browser, page, "states.at(-1) === 'reconnecting'")
        await publish(2)
        server.start()
        await publish(3)
        await all_have(pages, 1, 2, 3)
        await browser.close(pages.pop(0))
        await publish(4)
        await all_have(pages, 1, 2, 3, 4)
        assert await streams(url) == 1
