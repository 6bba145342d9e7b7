"""The code of docs/browser.md works, each block in Chromium as the page shows it."""

from __future__ import annotations

import json

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import acursor
from tests.databases import sqlite_only
from tests.live import tabs
from tests.live.tabs_urls import blocks, shown

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


async def test_a_template_imports_the_static_file(browser, channel):
    await tabs.log_in(browser, channel)
    page = await browser.page("/shown/0")
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("document.body.textContent.includes('order 7')")


async def test_a_listener_may_end(browser, channel):
    await tabs.log_in(browser, channel)
    page = await run(browser, block_with("end();"))
    await page.evaluate("void stream.on('paid', (order) => shown.push(order.id))")
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("shown.length")
    assert await page.evaluate("shown") == [7]


async def test_a_loop_gets_all_messages(browser, channel):
    await tabs.log_in(browser, channel)
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


@pytest.mark.parametrize("text", ["refetch(", "onreset({"])
async def test_blocks_for_resets_show_what_comes(browser, channel, text):
    """What they do after a reset is tested in test_browser.py."""
    await tabs.log_in(browser, channel)
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


async def test_a_store_without_a_framework(browser, channel, apps):
    store = (apps / "dist" / "store.js").read_text().replace('"./index.js"', '"eric-sse"')
    await browser.context.route(
        "**/store.js",
        lambda route: route.fulfill(body=store, content_type="text/javascript"),
    )
    await tabs.log_in(browser, channel)
    page = await run(browser, block_with("end = paid"), exported="end")
    await channel.abroadcast(Message("paid", ORDER))
    await page.wait_for_function("shown.some(([count, state]) => count === 1 && state === 'live')")
    await page.evaluate("end()")
    await browser.has_streams(0)
