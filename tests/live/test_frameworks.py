"""eric-sse with React, Vue, Svelte and without a framework, as npm installs them, in Chromium."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.databases import sqlite_only
from tests.faults.proxy import Proxy
from tests.live import site, tabs

QUICK = {"RETRY_MS": 200, "SQLITE_LOOK_INTERVAL_S": 0.02, "RING_MESSAGES": 0}
TOGGLE = "(document.querySelector('#toggle button') ?? document.querySelector('#toggle')).click()"

pytestmark = sqlite_only
FRAMEWORKS = ("plain", "react", "vue", "svelte")


@pytest.fixture
async def channel(database):
    return await DatabaseChannel.acreate("orders")


@pytest.fixture
async def link(channel, serve, chromium):
    """Return a link that can be cut, and a browser whose pages are behind it."""
    server = serve("daphne", application=tabs.SITE, settings=QUICK)
    async with Proxy(server.port) as link, tabs.launched(chromium, link.url) as browser:
        yield link, browser


async def app(browser, apps, framework):
    """Return a page with the app of a framework, once its stream is live."""
    page = await browser.blank()
    page.on("console", lambda message: message.type == "error" and print(message.text))
    await page.evaluate("document.body.innerHTML = '<p id=root></p><p id=toggle>toggle</p>'")
    await page.add_script_tag(type="module", content=(apps / f"{framework}.js").read_text())
    await shows(page, "live: ")
    return page


async def shows(page, text):
    await page.wait_for_function(
        "text => document.querySelector('#root').textContent.trim() === text.trim()", arg=text
    )


async def publish(channel, *numbers):
    await channel.abroadcast_many([Message("n", number) for number in numbers])


async def test_a_component_shows_each_message_once_also_when_it_is_shown_again(
    link, apps, channel
):
    _, browser = link
    for framework in FRAMEWORKS:
        page = await app(browser, apps, framework)
        await is_shown_again(browser, page, channel)
        await page.close()
        await browser.has_streams(0)


async def is_shown_again(browser, page, channel):
    await publish(channel, *range(1, 31))
    numbers = " ".join(map(str, range(1, 31)))
    await shows(page, f"live: {numbers}")
    await page.evaluate(TOGGLE)
    await shows(page, "")
    await browser.has_streams(0)
    await publish(channel, 31)
    await page.evaluate(TOGGLE)
    await shows(page, f"live: {numbers} 31")
    await browser.has_streams(1)


async def test_a_component_loads_its_value_after_a_reset(link, apps, channel):
    proxy, browser = link
    for framework in FRAMEWORKS:
        page = await app(browser, apps, framework)
        await loads(proxy, page, channel)
        await page.close()
        await browser.has_streams(0)


async def loads(proxy, page, channel):
    await publish(channel, 1)
    await shows(page, "live: 1")
    proxy.cut()
    await shows(page, "reconnecting: 1")
    await publish(channel, 2, 3)
    await sync_to_async(site.lose)()
    proxy.repair()
    await shows(page, "live: -1")
    await publish(channel, 4)
    await shows(page, "live: -1 4")


async def test_the_components_of_the_documentation_work(link, apps, channel):
    _, browser = link
    await tabs.log_in(browser, channel)
    pages = []
    for framework in FRAMEWORKS[1:]:
        page = await browser.page("/elsewhere")
        await page.evaluate("document.body.innerHTML = '<p id=root></p>'")
        script = (apps / f"shown_{framework}.js").read_text()
        await page.add_script_tag(type="module", content=script)
        await page.wait_for_selector("ul.live")
        pages.append(page)
    await channel.abroadcast(Message("paid", {"id": 2, "total": "2.00"}))
    for page in pages:
        await shows(page, "1.002.00")
