"""The live monitor, in front of real servers: its stream on each, its page in Chromium."""

from __future__ import annotations

import json
import re

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as project_settings
from django.contrib.auth import get_user_model
from django.test import Client

from eric_sse_django import conf
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.monitor import PATH
from eric_sse_django.shortcuts import watch_url
from tests.client import StreamClient
from tests.databases import on, sqlite_only
from tests.live import site
from tests.live.asgi_servers import SERVERS
from tests.patience import PATIENCE_MS

async_api = pytest.importorskip("playwright.async_api")
expect = async_api.expect

COOKIE = project_settings.SESSION_COOKIE_NAME
SITE = "tests.live.admin_asgi:application"
# Forbids inline scripts and styles, in the admin too.
STRICT = {
    "ERIC_SSE_TEST_MIDDLEWARE": json.dumps(["demo_project.middleware.content_security_policy"])
}
A_NUMBER = re.compile(r"^[1-9][\d.,]*( ms)?$")
HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"


@sync_to_async
def superuser():
    """Return the session cookie of a new superuser."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password=""))
    return client.cookies[COOKIE].value


async def snapshot(client):
    """Return the next snapshot."""
    while (event := await client.event()).type != "snapshot":
        pass
    return json.loads(event.data)


@pytest.mark.parametrize("server", SERVERS)
@sqlite_only
async def test_each_server_streams_it_and_detects_a_disconnect(database, serve, server):
    channel = await DatabaseChannel.acreate("orders")
    process = serve(server, options=["-w", "0"] if server == "hypercorn" else [])
    url = f"{process.url}/{conf.get('URL_PREFIX')}{PATH}"
    async with await StreamClient.open(url) as refused:
        assert refused.status == 403
    headers = {"Cookie": f"{COOKIE}={await superuser()}"}
    async with (
        await StreamClient.open(process.url + await site.new_listener(channel)),
        await StreamClient.open(url, headers=headers) as client,
    ):
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        await snapshot(client)
        await channel.abroadcast(Message("paid", 1))
        seen = [await snapshot(client) for _ in range(4)]
        assert [message["type"] for facts in seen for message in facts["messages"]] == ["paid"]
        assert seen[-1]["streams"] == 1
        assert max(facts["delivered_per_s"] for facts in seen) > 0
        client.abort() if server == "granian" else client.close()
        await site.until(lambda: "monitor closed reason=client left" in process.logged(), 1)


@sqlite_only
async def test_a_server_that_stops_ends_it_with_a_complete_response(database, serve):
    process = serve("uvicorn")
    headers = {"Cookie": f"{COOKIE}={await superuser()}"}
    url = f"{process.url}/{conf.get('URL_PREFIX')}{PATH}"
    async with await StreamClient.open(url, headers=headers) as client:
        await snapshot(client)
        process.terminate()
        await client.read_to_end()
        assert client.complete
    assert process.wait() < 3


@pytest.fixture
async def browser(chromium):
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield process
        await process.close()


async def monitor(browser, server):
    """Return the monitor's page as a superuser; `problems` are the errors of its console."""
    context = await browser.new_context()
    cookie = {"name": COOKIE, "value": await superuser(), "url": server.url}
    await context.add_cookies([cookie])
    page = await context.new_page()
    page.problems = []

    def on_console(message):
        # A breach of the Content-Security-Policy is one too.
        icon = message.location["url"].endswith("/favicon.ico")
        if message.type in ("error", "warning") and not icon:
            page.problems.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    await page.goto(f"{server.url}/admin/eric_sse_django/monitor/")
    await expect(page.locator("#eric-status")).to_have_text("live")
    return page


async def shape(page, name):
    """Return what is drawn of a number: its line's points."""
    line = page.locator(f".eric-line.eric-{name}").last
    return await line.get_attribute("d") if await line.count() else ""


@on("sqlite", "postgres")
async def test_it_moves_while_messages_flow(database, serve, browser):
    channel = await DatabaseChannel.acreate("orders")
    server = serve("daphne", database=database, application=SITE, environment=STRICT)
    path = await site.new_listener(channel)
    async with await StreamClient.open(server.url + path) as client:
        await client.until_body_has(b"ok")
        page = await monitor(browser, server)
        publishing = await site.publisher(server, channel, 400, 0.01)
        await expect(page.locator("#eric-now-streams")).to_have_text("1")
        await expect(page.locator("#eric-streams tr")).to_have_count(1)
        await expect(page.locator("#eric-processes tr")).to_have_count(1)
        for name in ("published_per_s", "delivered_per_s", "delay_p50_ms"):
            await expect(page.locator(f"#eric-now-{name}")).to_have_text(A_NUMBER)
            before = await shape(page, name)
            await page.wait_for_timeout(1_500)
            assert await shape(page, name) != before
        await expect(page.locator("#eric-tail tr").first).to_contain_text("number")
        assert await page.locator("#eric-tail tr").count() <= 100
        assert "open streams" in await page.locator("#eric-summary").inner_text()
        await publishing.wait()
    await expect(page.locator("#eric-now-streams")).to_have_text("0")
    assert page.problems == []


@sqlite_only
async def test_watchers_are_shown_and_counted(database, serve, browser):
    channel = await DatabaseChannel.acreate("orders")
    server = serve("daphne", application=SITE, environment=STRICT)
    ticket = await sync_to_async(watch_url)("orders")
    async with (
        await StreamClient.open(server.url + await site.new_listener(channel)),
        await StreamClient.open(server.url + ticket),
        await StreamClient.open(server.url + ticket),
    ):
        page = await monitor(browser, server)
        await expect(page.locator("#eric-now-streams")).to_have_text("3")
        rows = page.locator("#eric-streams tr")
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text("2 watchers")
        await expect(rows.first).to_contain_text("orders")
        await expect(page.locator("#eric-streams-some")).to_have_text("")
    await expect(page.locator("#eric-streams-empty")).to_have_text("No open streams.")
    assert page.problems == []


@sqlite_only
async def test_a_message_is_text_and_can_be_filtered_and_held(database, serve, browser):
    inbox = await DatabaseChannel.acreate("inbox")
    orders = await DatabaseChannel.acreate("orders")
    server = serve("daphne", application=SITE, environment=STRICT)
    await inbox.abroadcast(Message("note", HOSTILE))
    page = await monitor(browser, server)
    rows = page.locator("#eric-tail tr")
    await expect(rows).to_have_count(1)
    await expect(rows.first.locator("code")).to_have_text(json.dumps(HOSTILE))
    assert await page.locator("#eric-tail :is(script, img)").count() == 0
    assert await page.title() == "Live monitor | Django site admin"

    await orders.abroadcast_many([Message("paid", number) for number in range(3)])
    await expect(rows).to_have_count(4)
    await expect(rows.first.locator(".eric-json")).to_have_text("2")  # the latest is on top
    await page.get_by_label("Channel or type").fill("PAI")
    await expect(rows).to_have_count(3)
    await page.get_by_label("Text in payload").fill("2")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Text in payload").fill("nowhere")
    await expect(page.locator("#eric-tail-empty")).to_have_text("No message matches the filter.")
    await page.get_by_label("Text in payload").fill("")
    await page.get_by_label("Channel or type").fill("")
    await expect(rows).to_have_count(4)

    pause = page.locator("#eric-pause")
    await pause.click()
    await expect(pause).to_have_attribute("aria-pressed", "true")
    await orders.abroadcast_many([Message("paid", number) for number in range(70)])
    await expect(pause).to_have_text("Resume (50 new)")
    await expect(rows).to_have_count(4)
    await pause.click()
    await expect(rows).to_have_count(55)  # with the line that shows 20 more
    await expect(page.locator(".eric-skipped")).to_contain_text("20 more messages")
    assert page.problems == []


@sqlite_only
async def test_it_fits_a_phone_and_reconnects_by_itself(database, serve, browser):
    await DatabaseChannel.acreate("orders")
    server = serve("daphne", application=SITE, environment=STRICT)
    page = await monitor(browser, server)
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    server.terminate()
    server.wait()
    await expect(page.locator("#eric-status")).to_have_text("connection lost, reconnecting")
    server.start()
    await expect(page.locator("#eric-status")).to_have_text("live", timeout=PATIENCE_MS)
