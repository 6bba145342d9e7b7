"""The admin in Chromium, in front of two server processes on one database."""

from __future__ import annotations

import json
import time

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.client import StreamClient
from tests.databases import on
from tests.live import site

async_api = pytest.importorskip("playwright.async_api")
expect = async_api.expect

LIST = "/admin/eric_sse_django/listener/"
HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
SITE = "tests.live.admin_asgi:application"
STRICT = {
    "ERIC_SSE_TEST_MIDDLEWARE": json.dumps(["demo_project.middleware.content_security_policy"])
}
# Until a stream on another process ends: after a wake, or a poll of POLL_INTERVAL_S.
MAX_S = 2.0


@sync_to_async
def session(*permissions):
    """Return the session cookie of new staff with these permissions."""
    user = get_user_model().objects.create_user(f"{permissions}", password="", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


@pytest.fixture
async def browser(chromium):
    """Return a function: a page of a server, as somebody with these permissions."""
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        async def open_page(server, *permissions):
            context = await process.new_context()
            value = await session("view_listener", "view_queuedmessage", *permissions)
            await context.add_cookies(
                [{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": server.url}]
            )
            page = await context.new_page()
            page.refused = []
            page.on("console", lambda message: page.refused.append(message.text))
            await page.goto(server.url + LIST)
            return page

        yield open_page
        await process.close()


def violations(page):
    return [text for text in page.refused if "Content Security Policy" in text]


@on("sqlite", "postgres", "mariadb")
async def test_disconnecting_closes_a_stream_of_another_process(database, serve, browser):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    operated = serve("daphne", database=database, application=SITE, environment=STRICT)
    streaming = serve("daphne", database=database)
    page = await browser(operated, "operate_listener")
    await expect(page.locator("#result_list")).to_contain_text("offline")
    async with await StreamClient.open(streaming.url + path) as client:
        await client.until_body_has(b"ok")
        for _ in range(50):
            if await page.get_by_text("1 stream").count():
                break
            await page.wait_for_timeout(100)
            await page.reload()
        await expect(page.locator("#result_list")).to_contain_text(f":{streaming.pid}")
        await page.locator(".action-select").check()
        await page.get_by_label("Action:").select_option("disconnect")
        began = time.monotonic()
        await page.locator(".actions button[type=submit]").click()
        await client.read_to_end()
        assert time.monotonic() - began < MAX_S
    await expect(page.locator(".messagelist")).to_contain_text("1 listener disconnected")
    assert violations(page) == []


@on("sqlite")
async def test_without_the_permission_there_are_no_buttons(database, serve, browser):
    channel = await DatabaseChannel.acreate("orders")
    listener = await channel.aadd_listener(listener_id="till-7")
    server = serve("daphne", application=SITE)
    page = await browser(server)
    await expect(page.get_by_label("Action:")).to_have_count(0)
    await page.get_by_role("link", name="till-7").click()
    await expect(page.get_by_role("heading", name=listener.id)).to_be_visible()
    await expect(page.locator(".eric-actions a")).to_have_count(0)


@on("sqlite")
async def test_a_message_is_sent_and_shown_as_text(database, serve, browser):
    channel = await DatabaseChannel.acreate("orders")
    await channel.aadd_listener(listener_id="till-7")
    await channel.abroadcast(Message("paid", HOSTILE))
    server = serve("daphne", application=SITE, environment=STRICT)
    page = await browser(server, "operate_listener", "publish_channel", "sign_listener")
    await page.get_by_role("link", name="till-7").click()
    await page.get_by_role("link", name="Send a message").click()
    await page.get_by_label("Type:").fill("note")
    await page.get_by_label("Payload:").fill("{no")
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator(".errorlist")).to_contain_text("This is not valid JSON")
    await page.get_by_label("Payload:").fill(json.dumps(HOSTILE))
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator(".messagelist")).to_contain_text("Message sent to 1 listener.")
    await page.reload()
    await expect(page.locator(".eric-preview")).to_have_count(2)
    await page.locator("section th a").last.click()
    await expect(page.get_by_label("Payload as JSON")).to_contain_text("<script>document.title")
    assert "owned" not in await page.title()
    assert violations(page) == []
