"""A browser whose tabs show the site of tabs_asgi."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from tests.live import site
from tests.patience import PATIENCE_MS, PATIENCE_S

SITE = "tests.live.tabs_asgi:application"


class Browser:
    """
    One browser session with tabs of the site, at the URL of a server or of a proxy before it.

    `problems` are the errors of its pages that nobody caught, `statuses` those of its streams.
    """

    def __init__(self, url: str, context: Any) -> None:
        self.url = url
        self.context = context
        self.problems: list[str] = []
        self.statuses: list[int] = []

    async def tab(self, query: str = "") -> Any:
        """Return a new tab, once it has received the stream's state."""
        page = await self.page(f"/tab?{query}")
        await page.wait_for_function("window.states?.includes('live')")
        return page

    async def blank(self, query: str = "") -> Any:
        """Return a new tab with the module `client` and the stream's `url`."""
        page = await self.page(f"/blank?{query}")
        await page.wait_for_function("window.client")
        return page

    async def page(self, path: str) -> Any:
        page = await self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("response", self._note)
        await page.goto(self.url + path)
        return page

    async def has_streams(self, count: int) -> None:
        """Wait until so many streams are open: the server learns a little later of an end."""

        async def wait() -> None:
            while await self._streams() != count:
                await asyncio.sleep(0.05)

        await asyncio.wait_for(wait(), PATIENCE_S)

    async def _streams(self) -> int:
        return int(json.loads(await site.get(f"{self.url}/streams"))["open"])

    def _note(self, response: Any) -> None:
        if "/events/" in response.url:
            self.statuses.append(response.status)


@asynccontextmanager
async def launched(chromium: str, url: str, keeps_pages: bool = False) -> AsyncIterator[Browser]:
    """
    Run Chromium; fail if a page has an error that nobody caught.

    If it `keeps_pages` it has a back/forward cache, as for people.
    """
    async_api = pytest.importorskip("playwright.async_api")
    ignored = ["--disable-back-forward-cache"] if keeps_pages else []
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], ignore_default_args=ignored
        )
        browser = Browser(url, await process.new_context())
        yield browser
        await process.close()
    assert browser.problems == []


async def log_in(browser: Browser, channel: Any, **options: Any) -> Any:
    """Log ada in; return her listener of the channel, till-7."""
    user = await sync_to_async(get_user_model().objects.create_user)("ada", password="")
    client = Client()
    await sync_to_async(client.force_login)(user)
    cookies = {
        settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value,
        settings.CSRF_COOKIE_NAME: "a" * 32,
    }
    await browser.context.add_cookies(
        [{"name": name, "value": value, "url": browser.url} for name, value in cookies.items()]
    )
    listener = await channel.aadd_listener(user, "till-7", **options)
    await listener.astart()
    return listener


async def got(page, *numbers):
    """Wait until these numbers came to a tab, each once and in this order, and no others."""
    await page.wait_for_function("count => got.length >= count", arg=len(numbers))
    assert await page.evaluate("got") == list(numbers)
