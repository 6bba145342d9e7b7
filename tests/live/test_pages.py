"""The recipes of docs/pages.md, each run in Chromium as it is printed there."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from tests import databases
from tests.live import site as sites
from tests.live.recipes import recipes, settings
from tests.patience import PATIENCE_MS

async_api = pytest.importorskip("playwright.async_api")

SITE = "tests.live.pages_asgi:application"

pytestmark = databases.sqlite_only


class Site:
    """The running recipes, and a browser for each user."""

    def __init__(self, server, browser):
        self.server, self.browser, self.problems = server, browser, []

    async def page(self, recipe, user="ada"):
        context = await self.browser.new_context()
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        await page.goto(f"{self.server.url}/login/{user}")
        await page.goto(f"{self.server.url}/{recipe}/")
        return page

    async def call(self, recipe, code):
        await sites.get(f"{self.server.url}/call/{recipe}/it?{quote(code)}")


@pytest.fixture
async def site(database, serve, chromium):
    if databases.USERS is not None:
        pytest.skip("the models are in another database than the log")
    environment = {"DJANGO_SETTINGS_MODULE": "tests.live.recipe_settings"}
    server = serve("daphne", application=SITE, settings=settings(), environment=environment)
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found = Site(server, browser)
        yield found
        await browser.close()
    assert found.problems == []


async def text(page, selector, expected):
    await async_api.expect(page.locator(selector)).to_have_text(expected)


async def unread_badge(site):
    page = await site.page("unread_badge")
    await text(page, "#unread", "0")
    await site.call("unread_badge", "[notify(ada, text) for text in 'ab']")
    await text(page, "#unread", "2")
    again = await site.page("unread_badge")
    await text(again, "#unread", "2")
    await text(again, "#notices", "ab")
    async with again.expect_response("**/read/"):
        await again.click("#inbox")
    await text(again, "#unread", "0")
    await again.reload()
    await text(again, "#unread", "0")
    await site.call("unread_badge", "notify(ada, 'c')")
    await text(again, "#unread", "1")
    await text(again, "#notices", "c")


async def toasts(site):
    page = await site.page("toasts")
    await site.call("toasts", "toast('<saved>')")
    await text(page, ".toast", "<saved>")
    await async_api.expect(page.locator(".toast")).to_have_count(0)


async def typing(site):
    ada, bob = await site.page("typing"), await site.page("typing", "bob")
    await ada.fill("#text", "h")
    await text(bob, "#typing", "ada")
    await text(bob, "#typing", "")


async def who_is_online(site):
    ada = await site.page("who_is_online")
    await text(ada, "#online li", ["ada"])
    bob = await site.page("who_is_online", "bob")
    await text(ada, "#online li", ["ada", "bob"])
    await bob.context.close()
    await text(ada, "#online li", ["ada"])


async def live_table(site):
    await site.call("live_table", "Part.objects.create(name='bolt')")
    page = await site.page("live_table")
    await text(page, "#parts tr", ["bolt0"])
    await site.call("live_table", "Part.objects.create(name='nut')")
    await text(page, "#parts tr", ["bolt0", "nut0"])
    await site.call("live_table", "Part.objects.update(stock=3)")
    await text(page, "#parts tr", ["bolt3", "nut3"])
    await site.call("live_table", "Part.objects.filter(name='bolt').delete()")
    await text(page, "#parts tr", ["nut3"])


async def progress(site):
    page = await site.page("progress")
    await text(page, "#bar", "0 %")
    await site.call("progress", "work(7)")
    await text(page, "#bar", "100 %")


async def log_tail(site):
    page = await site.page("log_tail")
    await site.call("log_tail", "logging.getLogger('shop').addHandler(Tail())")
    await site.call(
        "log_tail", "[logging.getLogger('shop').error('line %d', n) for n in range(105)]"
    )
    await text(page, "#lines li:last-child", "line 104")
    await async_api.expect(page.locator("#lines li")).to_have_count(100)


RUNS = {
    run.__name__: run
    for run in (unread_badge, toasts, typing, who_is_online, live_table, progress, log_tail)
}


async def test_each_recipe_works(site):
    """All at once, because one waits ten seconds for a user to leave."""
    assert RUNS.keys() == recipes().keys()
    await asyncio.gather(*(run(site) for run in RUNS.values()))
