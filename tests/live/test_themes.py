"""The admin under other themes and on two sites, in Chromium: every page, every button."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.models import Listener, QueuedMessage
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live import site
from tests.patience import PATIENCE_MS

async_api = pytest.importorskip("playwright.async_api")
expect = async_api.expect

APPLICATION = "tests.live.admin_asgi:application"
THEMES = ("", "unfold", "jazzmin", "grappelli")
# What is on another host, as jazzmin's fonts, is not found: a page would wait for it. Not by
# Playwright's routes, which take the browser its cache.
OTHER_HOSTS = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
PLACES = [("admin", theme) for theme in THEMES] + [("second", "")]

pytestmark = sqlite_only


class Forms(HTMLParser):
    """Finds forms within forms: browsers leave the inner ones out."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.nested: list[tuple[int, int]] = []

    def handle_starttag(self, tag, attributes):
        if tag == "form":
            self.depth += 1
            if self.depth > 1:
                self.nested.append(self.getpos())

    def handle_endtag(self, tag):
        if tag == "form":
            self.depth -= 1


@sync_to_async
def session():
    user = get_user_model().objects.create_superuser("root", password="")
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


class Visitor:
    """A superuser on one admin site of one server."""

    def __init__(self, page, root):
        self.page, self.root, self.errors = page, root, []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def go(self, path):
        response = await self.page.goto(self.root + path)
        assert response.status == 200, path
        forms = Forms()
        forms.feed(await response.text())
        assert forms.nested == [], path
        await self.picture(path)

    async def picture(self, name):
        """Keep a picture in the directory that ERIC_SSE_TEST_PICTURES names, to look at."""
        directory = os.environ.get("ERIC_SSE_TEST_PICTURES")
        if directory:
            where = self.root.split("//")[1].replace("/", "-").split("-", 1)[1]
            file = f"{self.theme or 'django'}-{where}{name.replace('/', '_')}.png"
            await self.page.wait_for_timeout(400)
            await self.page.screenshot(path=Path(directory) / file, full_page=True)


@pytest.fixture(params=PLACES, ids=lambda place: "-".join(filter(None, place)))
async def visitor(request, database, serve, chromium):
    place, theme = request.param
    if theme:
        pytest.importorskip(theme)
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.live.themed_settings",
        "ERIC_SSE_TEST_THEME": theme,
    }
    server = serve("daphne", application=APPLICATION, environment=environment)
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", OTHER_HOSTS]
        )
        context = await process.new_context()
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": await session()}
        await context.add_cookies([{**cookie, "url": server.url}])
        visitor = Visitor(await context.new_page(), f"{server.url}/{place}/")
        visitor.server, visitor.theme = server, theme
        yield visitor
        await process.close()
    # This app cannot repair those of the theme itself.
    assert [error for error in visitor.errors if "eric" in error] == []


@pytest.fixture
async def listener(database):
    channel = await DatabaseChannel.acreate("orders")
    await channel.abroadcast(Message("paid", {"grüße": "äöü"}))
    listener = await channel.aadd_listener(listener_id="till-7")
    await channel.adispatch("till-7", Message("paid", 1))
    return listener


async def test_every_page_and_operation_works(visitor, listener):
    """In one test: to start its server and browser takes as long as half of the pages."""
    # First: Django's list of recent actions links to the first site.
    await every_page_opens_and_stays_on_its_site(visitor, listener)
    await the_monitor_is_alive(visitor)
    await each_operation_works_from_a_listeners_page(visitor, listener)
    await a_message_is_sent_and_one_action_works(visitor, listener)


async def the_monitor_is_alive(visitor):
    async with await StreamClient.open(
        visitor.server.url + await site.new_listener(await DatabaseChannel.aload("orders"))
    ):
        await visitor.go("eric_sse_django/monitor/")
        await expect(visitor.page.locator("#eric-status")).to_have_text("live")
        await expect(visitor.page.locator("#eric-now-streams")).to_have_text("1")
        await expect(visitor.page.locator("#eric-tail tr").first).to_contain_text("paid")
        await visitor.picture("monitor-live")
    assert visitor.errors == []


async def each_operation_works_from_a_listeners_page(visitor, listener):
    where = f"eric_sse_django/listener/{listener.row.pk}/change/"
    for name, said in (
        ("Start", "1 listener started."),
        ("Stop", "1 listener stopped"),
        ("Disconnect", "1 listener disconnected"),
        ("Discard", "1 listener"),
        ("Revoke access", "Access to 1 listener revoked"),
    ):
        await visitor.go(where)
        await visitor.page.locator("a[href*='/operate/']").filter(has_text=name).first.click()
        await visitor.picture(f"confirm-{name}")
        await visitor.page.locator("#eric-confirm button[type=submit]").click()
        await expect(visitor.page.get_by_text(said).first).to_be_visible()
        assert visitor.page.url == visitor.root + where
    row = await sync_to_async(Listener.objects.get)(pk=listener.row.pk)
    assert row.cursor > listener.row.cursor
    await visitor.page.get_by_role("link", name="New stream URL").first.click()
    await visitor.page.locator("#eric-confirm button[type=submit]").click()
    await expect(visitor.page.locator("pre").first).to_contain_text("new EventSource")
    await visitor.picture("stream-url")
    assert visitor.page.url.startswith(visitor.root)


async def every_page_opens_and_stays_on_its_site(visitor, listener):
    message = await sync_to_async(lambda: QueuedMessage.objects.filter(type="paid").first().pk)()
    for path in (
        "",
        "eric_sse_django/",
        "eric_sse_django/listener/",
        "eric_sse_django/listener/?q=till-7&online=no",
        "eric_sse_django/listener/add/",
        f"eric_sse_django/listener/{listener.row.pk}/change/",
        f"eric_sse_django/listener/{listener.row.pk}/send/",
        f"eric_sse_django/listener/{listener.row.pk}/delete/",
        "eric_sse_django/channel/",
        "eric_sse_django/channel/add/",
        f"eric_sse_django/channel/{listener.row.channel_id}/change/",
        f"eric_sse_django/channel/{listener.row.channel_id}/broadcast/",
        "eric_sse_django/queuedmessage/",
        "eric_sse_django/queuedmessage/?type=paid&channel=orders",
        f"eric_sse_django/queuedmessage/{message}/change/",
        "eric_sse_django/apitoken/",
        "eric_sse_django/apitoken/add/",
    ):
        await visitor.go(path)
        links = await visitor.page.evaluate("[...document.links].map(link => link.href)")
        ours = [link for link in links if "/eric_sse_django/" in link]
        assert [link for link in ours if not link.startswith(visitor.root)] == [], path


async def a_message_is_sent_and_one_action_works(visitor, listener):
    page = visitor.page
    await visitor.go(f"eric_sse_django/channel/{listener.row.channel_id}/change/")
    await page.get_by_role("link", name="Broadcast a message").first.click()
    await page.locator("[name=type]").fill("note")
    await page.locator("[name=payload]").fill('"hello"')
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_text("Message broadcast to").first).to_be_visible()
    await visitor.go("eric_sse_django/listener/")
    await page.locator("input[name=_selected_action]").first.check()
    await page.locator("select[name=action]").first.select_option("discard")
    await page.locator("select[name=action]").first.evaluate("select => select.form.submit()")
    await page.locator("#eric-confirm button[type=submit]").click()
    discarded = page.get_by_text("Waiting messages of 1 listener discarded").first
    await expect(discarded).to_be_visible()
