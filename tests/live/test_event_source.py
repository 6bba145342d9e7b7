"""Chromium's EventSource: it keeps the opening's fields, and reconnects after a reset."""

import asyncio

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django.authorization import make_ticket
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests import certificates
from tests.databases import sqlite_only
from tests.faults.proxy import Proxy
from tests.live import site
from tests.live.test_streams import closed
from tests.patience import PATIENCE_MS
from tests.server import free_port

async_api = pytest.importorskip("playwright.async_api")

LISTEN = """path => {
    window.ids = [];
    window.states = [];
    window.source = new EventSource(path);
    source.addEventListener("number", event => ids.push(event.lastEventId));
    source.addEventListener("message", event => states.push("an event without a name"));
    for (const name of ["open", "error"]) source.addEventListener(name, () => states.push(name));
}"""
# The page's only thread: meanwhile the browser fills what it has for the stream, and then stops.
BE_BUSY = "seconds => { const end = Date.now() + 1000 * seconds; while (Date.now() < end); }"
SETTINGS = {"RETRY_MS": 100, "SQLITE_LOOK_INTERVAL_S": 0.02}


@pytest.fixture
async def page(chromium):
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await process.new_context(ignore_https_errors=True)
        yield await context.new_page()
        await process.close()


async def states(page, count):
    """Return when the page's source has had so many states."""
    await page.wait_for_function("count => states.length >= count", arg=count, timeout=PATIENCE_MS)


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_messages_published_after_a_stream_without_events_are_delivered_after_a_reconnect(
    database, serve, page, server
):
    """A watcher has no cursor: it knows where it was by the id of the opening alone."""
    channel = await DatabaseChannel.acreate("orders")
    ticket = await sync_to_async(make_ticket)("orders")
    process = serve(server, settings=SETTINGS)
    async with Proxy(process.port) as proxy:
        await page.goto(f"{proxy.url}/counters")
        await page.evaluate(LISTEN, f"/events/orders/?ticket={ticket}")
        await states(page, 1)
        await site.until(lambda: "guards" in process.log.read_text())
        proxy.cut()
        await states(page, 2)
        await channel.abroadcast(Message("number", 1))
        proxy.repair()
        await page.wait_for_function("ids.length == 1", timeout=PATIENCE_MS)
    assert "an event without a name" not in await page.evaluate("states")


@sqlite_only
async def test_a_page_that_was_too_busy_to_read_gets_every_message_over_http2(
    database, serve, page, tmp_path
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    certificate, key = certificates.make(tmp_path)
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    settings = {**SETTINGS, "SEND_TIMEOUT_S": 1}
    process = serve("daphne", options=("-e", endpoint), settings=settings)
    await page.goto(f"https://127.0.0.1:{port}/counters")
    await page.evaluate(LISTEN, path)
    await states(page, 1)
    busy = asyncio.ensure_future(page.evaluate(BE_BUSY, 6))
    for _ in range(15):
        await channel.abroadcast_many(Message("number", "x" * 100_000) for _ in range(20))
    await site.until(lambda: closed(process) == 1)
    assert "HTTP/2" in process.log.read_text()
    assert "reason=send timeout" in process.log.read_text()
    await busy
    await page.wait_for_function("ids.length >= 300", timeout=PATIENCE_MS)
    ids = [int(one) for one in await page.evaluate("ids")]
    assert ids == sorted(set(ids))
    assert len(ids) == 300
    assert (await page.evaluate("states"))[:3] == ["open", "error", "open"]
