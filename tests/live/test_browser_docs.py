"""The code of docs/browser.md works, each block in Chromium as the page shows it."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.models import Listener
from eric_sse_django.shortcuts import acursor
from tests.databases import sqlite_only
from tests.live import tabs
from tests.live.tabs_urls import blocks, shown
from tests.patience import PATIENCE_S

CLIENT = "/static/eric_sse_django/eric-sse.js"
IMPORTS = {"imports": {"eric-sse": CLIENT, "eric-sse/store": "/store.js"}}
# What the blocks call, and what a page around them has.
AROUND = """() => {
    window.shown = [];
    window.show = window.save = (...all) => shown.push(all);
    document.body.innerHTML = "<ul id=orders></ul>";
}"""
ORDER = {"id": 7, "total": "3.00"}

pytestmark = sqlite_only


@pytest.fixture
async def channel(database):
    return await DatabaseChannel.acreate("orders")


@pytest.fixture
async def browser(channel, serve, chromium):
    environment = {"DJANGO_SETTINGS_MODULE": "tests.live.tabs_settings"}
    server = serve("daphne", application=tabs.SITE, environment=environment)
    async with tabs.launched(chromium, server.url) as browser:
        yield browser


def block_with(text):
    [found] = [block for block in blocks("js") if text in block]
    return found


async def run(browser, block, exported="stream"):
    """Run a block as a module of a page, once its stream is live; return the page."""
    page = await browser.page("/elsewhere")
    await page.evaluate(AROUND)
    await page.add_script_tag(type="importmap", content=json.dumps(IMPORTS))
    # Its variables become those of the page, where the test reads them.
    module = f"{block}\nObject.assign(window, {{ {exported} }});"
    async with page.expect_response(lambda response: "/events/" in response.url):
        await page.add_script_tag(type="module", content=module)
    return page


def test_every_block_is_run(database):
    tested = (
        "end();",
        "for await",
        "refetch(",
        "onreset({",
        "refresh:",
        "acknowledge:",
        "end = paid",
    )
    assert len(blocks("js")) == len(tested) + 1  # useRun: test_runs_frameworks.py
    assert [text for text in tested if block_with(text) is None] == []
    assert (len(blocks("html")), len(blocks("python")), len(blocks("ts"))) == (1, 1, 1)
    assert "board_stream" in shown


async def template(browser, channel):
    page = await browser.page("/shown/0")
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("document.body.textContent.includes('order 7')")


async def listener_that_ends(browser, channel):
    page = await run(browser, block_with("end();"))
    await page.evaluate("void stream.on('paid', (order) => shown.push(order.id))")
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("shown.length")
    assert await page.evaluate("shown") == [7]


async def loop(browser, channel):
    block = block_with("for await").replace(
        "for await", "Object.assign(window, { stream });\nfor await"
    )
    page = await browser.page("/elsewhere")
    await page.evaluate(AROUND)
    await page.add_script_tag(type="importmap", content=json.dumps(IMPORTS))
    await page.add_script_tag(type="module", content=block)
    await channel.abroadcast(Message("paid", ORDER))
    await channel.abroadcast(Message("other", ORDER))
    await channel.abroadcast(Message("cancelled", {"id": 8}))
    await page.wait_for_function("shown.length === 2")
    head = await acursor()
    assert await page.evaluate("shown") == [
        ["paid", ORDER, str(head - 2)],
        ["cancelled", {"id": 8}, str(head)],
    ]


async def block_for_a_reset(browser, channel, text):
    """Run it; what it does after a reset is tested in test_browser.py."""
    block = block_with(text) + "\nObject.assign(window, { shown: window.orders = orders });"
    page = await run(browser, block if "onreset({" in block else block_with(text))
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("shown.length")


async def test_an_expired_ticket_is_replaced(browser, channel):
    page = await run(browser, block_with("refresh:"))
    await page.wait_for_function("stream.state === 'live'")
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("shown.length")
    assert browser.statuses[:2] == [403, 200]


async def test_what_was_saved_is_acknowledged(browser, channel):
    listener = await tabs.log_in(browser, channel, acknowledgement="client")
    page = await run(browser, block_with("acknowledge:"))
    async with page.expect_response(lambda response: response.url.endswith("/ack")) as answer:
        await channel.abroadcast(Message("paid", ORDER))
    assert (await answer.value).status == 200
    await listener.row.arefresh_from_db()
    assert listener.row.cursor == await acursor()


async def store(browser, channel, apps):
    body = (apps / "dist" / "store.js").read_text().replace('"./index.js"', '"eric-sse"')
    await browser.context.route(
        "**/store.js",
        lambda route: route.fulfill(body=body, content_type="text/javascript"),
    )
    page = await run(browser, block_with("end = paid"), exported="end")
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("shown.some(([count, state]) => count === 1 && state === 'live')")
    await page.evaluate("end()")
    await browser.has_streams(0)


async def close_pages(browser, row):
    """Close all pages, and wait until it is recorded what they were served."""
    for page in browser.context.pages:
        await page.close()
    await browser.has_streams(0)

    async def wait():
        while (await Listener.objects.aget(pk=row.pk)).cursor != await acursor():
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), PATIENCE_S)


async def test_blocks_show_what_comes(browser, channel, apps):
    listener = await tabs.log_in(browser, channel)
    for show in (
        template,
        listener_that_ends,
        loop,
        partial(block_for_a_reset, text="refetch("),
        partial(block_for_a_reset, text="onreset({"),
        partial(store, apps=apps),
    ):
        await show(browser, channel)
        await close_pages(browser, listener.row)
