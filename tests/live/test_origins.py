"""The door of real servers; pages of another origin in Chromium, and what it lets them read."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as project_settings
from django.contrib.auth import get_user_model
from django.test import Client

import eric_sse_django
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import listen, stream_url
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live import site
from tests.live.asgi_servers import SERVERS
from tests.server import free_port

async_api = pytest.importorskip("playwright.async_api")

COOKIE = project_settings.SESSION_COOKIE_NAME
# Streams end within a second, and their clients are back 0.15 s later at most.
SHORT = {"MAX_STREAM_AGE_S": 1, "RETRY_MS": 100}

# What a page of another origin does: its events, and how its EventSource ended, if it did.
LISTEN = """url => {
    window.events = [];
    window.source = new EventSource(url, {withCredentials: true});
    source.addEventListener("paid", event => events.push([event.lastEventId, event.data]));
}"""
# As a client made with fetch() does; a header that is no form's has the browser ask first.
FETCH = """async ([url, lastEventId]) => {
    const headers = {"Last-Event-ID": lastEventId, "Cache-Control": "no-cache"};
    try {
        const response = await fetch(url, {credentials: "include", headers});
        const {value} = await response.body.getReader().read();
        return [response.status, new TextDecoder().decode(value)];
    } catch (error) {
        return [0, String(error)];
    }
}"""

CLIENT = Path(eric_sse_django.__file__).parent / "static" / "eric_sse_django" / "eric-sse.js"
CONNECT = """async ([text, url]) => {
    const module = URL.createObjectURL(new Blob([text], {type: "text/javascript"}));
    const {connect} = await import(module);
    window.events = [];
    window.stream = connect(url);
    stream.on("paid", (data) => void events.push(data));
}"""


class Blank(http.server.BaseHTTPRequestHandler):
    """An empty page at every path."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def elsewhere():
    """Return the origin of another site, of the same host: its pages bring the same cookies."""
    at = ("127.0.0.1", free_port())
    with http.server.ThreadingHTTPServer(at, Blank) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
async def browser(chromium):
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield process
        await process.close()


@pytest.fixture
async def channel(database):
    return await DatabaseChannel.acreate("orders")


@sync_to_async
def owned_stream(channel):
    """Return the path of a user's own stream, without a ticket, and the user's cookie."""
    user = get_user_model().objects.create_user("ana", password="")
    client = Client()
    client.force_login(user)
    return stream_url(listen(channel.id, user)), client.cookies[COOKIE].value


async def page_of(browser, origin, cookie):
    """Return a page of an origin, in a browser that is logged in."""
    context = await browser.new_context()
    await context.add_cookies([{"name": COOKIE, "value": cookie, "url": origin}])
    page = await context.new_page()
    page.requests = []
    page.on("request", lambda request: page.requests.append(request))
    await page.goto(origin)
    return page


async def opens(page, path, count):
    """Return the headers of the page's requests for the stream, once there are so many."""
    found = []
    while len(found) < count:
        await page.wait_for_timeout(20)
        found = [request for request in page.requests if path in request.url]
    return [await request.all_headers() for request in found]


@sqlite_only
async def test_a_listed_origin_gets_the_events_and_reconnects_for_more(
    channel, serve, browser, elsewhere
):
    server = serve("daphne", settings={"ALLOWED_ORIGINS": [elsewhere], **SHORT})
    path, cookie = await owned_stream(channel)
    page = await page_of(browser, elsewhere, cookie)
    await page.evaluate(LISTEN, server.url + path)
    await channel.abroadcast(Message("paid", 1))
    await page.wait_for_function("events.length == 1")
    first, second, *_ = await opens(page, path, 2)
    assert first["origin"] == second["origin"] == elsewhere
    (position, data), *_ = await page.evaluate("events")
    assert data == "1"
    assert second["last-event-id"] == position
    await channel.abroadcast(Message("paid", 2))
    await page.wait_for_function("events.length == 2")
    assert [data for _, data in await page.evaluate("events")] == ["1", "2"]


@sqlite_only
async def test_an_origin_that_is_not_listed_gets_none(channel, serve, browser, elsewhere):
    server = serve("daphne", settings={"ALLOWED_ORIGINS": ["https://shop.example"]})
    path, cookie = await owned_stream(channel)
    await channel.abroadcast(Message("paid", 1))
    page = await page_of(browser, elsewhere, cookie)
    await page.evaluate(LISTEN, server.url + path)
    await page.wait_for_function("source.readyState == EventSource.CLOSED")
    assert await page.evaluate("events") == []
    status, text = await page.evaluate(FETCH, [server.url + path, "0"])
    assert status == 0, text
    assert f"origin refused origin='{elsewhere}'" in server.logged()
    own = await page_of(browser, server.url, cookie)
    await own.evaluate(LISTEN, path)
    await own.wait_for_function("events.length == 1")


@sqlite_only
async def test_a_client_with_fetch_passes_the_preflight(channel, serve, browser, elsewhere):
    server = serve("daphne", settings={"ALLOWED_ORIGINS": [elsewhere]})
    path, cookie = await owned_stream(channel)
    page = await page_of(browser, elsewhere, cookie)
    status, text = await page.evaluate(FETCH, [server.url + path, "0"])
    assert (status, text.split("\n")[0].split(":")[0]) == (200, "retry")
    status, text = await page.evaluate(FETCH, [f"{server.url}/events/orders/", "0"])
    assert (status, bool(text)) == (403, True)  # it can read that it was refused, and why


@sqlite_only
async def test_the_client_of_a_listed_origin_needs_no_preflight_and_reconnects(
    channel, serve, browser, elsewhere
):
    server = serve("daphne", settings={"ALLOWED_ORIGINS": [elsewhere], **SHORT})
    path, cookie = await owned_stream(channel)
    page = await page_of(browser, elsewhere, cookie)
    await page.evaluate(CONNECT, [CLIENT.read_text(), server.url + path])
    await channel.abroadcast(Message("paid", 1))
    await page.wait_for_function("events.length == 1")
    await opens(page, path, 2)
    await channel.abroadcast(Message("paid", 2))
    await page.wait_for_function("events.length == 2")
    assert await page.evaluate("events") == [1, 2]
    assert {request.method for request in page.requests} == {"GET"}
    assert "OPTIONS" not in server.logged()


@pytest.mark.parametrize("server", SERVERS)
@sqlite_only
async def test_each_server_passes_the_host_the_origin_and_the_address(channel, serve, server):
    settings = {"MAX_STREAMS_PER_ADDRESS": 1}
    process = serve(server, settings=settings, options=["-w", "0"] * (server == "hypercorn"))
    url = process.url + await site.new_listener(channel)
    # A host that DNS does not know: '*' in ALLOWED_HOSTS is not for it.
    for headers, status in (({"Host": "a_b"}, 400), ({"Origin": "http://a.example"}, 403)):
        async with await StreamClient.open(url, headers=headers) as refused:
            assert refused.status == status
    own = {"Origin": process.url}
    async with await StreamClient.open(url, headers=own) as client:
        await client.until_body_has(b": ok")
        async with await StreamClient.open(url) as other:
            await other.read_to_end()
            assert 30_000 <= (other.reader.retry_ms or 0) <= 60_000
        client.abort() if server == "granian" else client.close()
        await site.until(lambda: "reason=client left" in process.logged())
    async with await StreamClient.open(url) as client:
        await client.until_body_has(b": ok")
