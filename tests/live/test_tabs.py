"""The client in Chromium: tabs of one browser, and one connection for all of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from eric_sse_django import notifier
from eric_sse_django.database import DatabaseChannel, operations
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import acursor
from tests.databases import sqlite_only
from tests.live import tabs
from tests.live.tabs import got

# A busy tab receives and answers as little as one that the browser has frozen.
SLEEP = """
  localStorage.until = Date.now() + 6_000;
  while (Date.now() < Number(localStorage.until));
  window.isAwake = true;
"""

pytestmark = sqlite_only


@pytest.fixture
async def channel(database):
    return await DatabaseChannel.acreate("orders")


@pytest.fixture
async def browser(channel, serve, chromium):
    async with tabs.launched(chromium, serve("daphne", application=tabs.SITE).url) as browser:
        yield browser


@pytest.fixture
async def keeping(channel, serve, chromium):
    """Return a browser that keeps the pages which were left, as Chromium does for people."""
    url = serve("daphne", application=tabs.SITE).url
    async with tabs.launched(chromium, url, keeps_pages=True) as browser:
        yield browser


async def go_back(page):
    """Show the previous page again, and wait until it is known that it was kept."""
    await page.evaluate("void setTimeout(() => history.back())")
    await page.wait_for_function("window.isRestored === true")


async def publish(channel, *numbers, type="n"):
    await channel.abroadcast_many([Message(type, number) for number in numbers])


async def test_tabs_share_one_connection_and_each_gets_every_event(browser, channel):
    tabs = [await browser.tab() for _ in range(3)]
    await publish(channel, 1, 2)
    await publish(channel, 3)
    for tab in tabs:
        await got(tab, 1, 2, 3)
    await browser.has_streams(1)


async def test_when_the_tab_that_leads_is_closed_another_continues(browser, channel):
    first, second, third = [await browser.tab() for _ in range(3)]
    await publish(channel, 1)
    for tab in (first, second, third):
        await got(tab, 1)
    await first.close()
    await publish(channel, 2)
    await publish(channel, 3)
    for tab in (second, third):
        await got(tab, 1, 2, 3)
    await second.close()
    await publish(channel, 4)
    await got(third, 1, 2, 3, 4)
    await browser.has_streams(1)


async def test_a_tab_gets_messages_published_between_rendering_and_joining(browser, channel):
    at = await acursor()
    first = await browser.tab()
    await publish(channel, 1, 2)
    await got(first, 1, 2)
    second = await browser.tab(f"at={at}")
    await got(second, 1, 2)
    await publish(channel, 3)
    await got(second, 1, 2, 3)
    await got(first, 1, 2, 3)
    await browser.has_streams(1)


async def test_a_leading_tab_that_sleeps_is_replaced_and_catches_up(browser, channel):
    first = await browser.tab()
    second = await browser.tab()
    await first.evaluate(f"setTimeout(() => {{{SLEEP}}})")
    await publish(channel, 1)
    await sync_to_async(notifier.flush)()
    third = await browser.tab(f"at={await acursor()}")  # finds nobody who answers, and leads
    await publish(channel, 2)
    await got(second, 1, 2)
    assert await second.evaluate("Date.now() < Number(localStorage.until)")
    await first.wait_for_function("window.isAwake")
    await publish(channel, 3)
    for tab, numbers in ((first, (1, 2, 3)), (second, (1, 2, 3)), (third, (2, 3))):
        await got(tab, *numbers)
    await browser.has_streams(1)


async def test_a_tab_may_listen_for_other_types(browser, channel):
    first = await browser.tab("types=n")
    await publish(channel, 1, type="m")
    await publish(channel, 2)
    await got(first, 2)
    second = await browser.tab("types=m")
    await publish(channel, 3, type="m")
    await publish(channel, 4)
    await got(second, 3)
    await first.close()
    await publish(channel, 5, type="m")
    await got(second, 3, 5)


async def test_an_expired_ticket_is_replaced(browser, channel):
    tab = await browser.tab("ticket_s=2")
    await tab.wait_for_function("states.filter(state => state === 'live').length >= 2")
    await publish(channel, 1)
    await got(tab, 1)
    await browser.has_streams(1)


async def test_a_replay_is_sent_again_to_each_tab(browser, channel):
    listener = await channel.aadd_listener(listener_id="till-7")
    await listener.astart()
    tabs = [await browser.tab("listener=till-7") for _ in range(2)]
    await publish(channel, 1, 2)
    for tab in tabs:
        await got(tab, 1, 2)
    since = timezone.now() - timedelta(hours=1)
    await sync_to_async(operations.replay)([listener.row], since)
    for tab in tabs:
        await got(tab, 1, 2, 1, 2)


async def test_a_stream_that_is_closed_hands_over(browser, channel):
    first, second = [await browser.tab() for _ in range(2)]
    await first.evaluate("stream.close()")
    await publish(channel, 1)
    await got(second, 1)
    await got(first)
    await browser.has_streams(1)


async def test_no_tab_misses_or_repeats_a_message_while_tabs_open_and_close(browser, channel):
    tabs, last = [await browser.tab()], 0
    first = {tabs[0]: 1}
    for step in range(8):
        # In two halves, so that some come while the tabs change over.
        for _ in range(2):
            await publish(channel, *range(last + 1, last + 26))
            last += 25
        if step % 2 == 0:
            tab = await browser.tab(f"at={await acursor()}")
            tabs.append(tab)
            first[tab] = last + 1
        else:
            await tabs.pop(0).close()
        await publish(channel, last + 1)
        last += 1
    for tab in tabs:
        await tab.wait_for_function("last => got.at(-1) === last", arg=last)
        numbers = await tab.evaluate("got")
        assert numbers[0] <= first[tab]  # its cursor may be before the youngest
        assert numbers == list(range(numbers[0], last + 1))
    await browser.has_streams(1)


async def test_a_page_in_the_back_forward_cache_gives_its_stream_to_the_other_tabs(
    keeping, channel
):
    first, second = [await keeping.tab() for _ in range(2)]
    await publish(channel, 1)
    await got(second, 1)
    await first.goto(f"{keeping.url}/elsewhere")
    await publish(channel, 2)
    await got(second, 1, 2)
    await go_back(first)
    await publish(channel, 3)
    await got(first, 1, 2, 3)
    await got(second, 1, 2, 3)
    await keeping.has_streams(1)


async def test_a_page_in_the_back_forward_cache_gets_no_stream(keeping, channel):
    first, second, third = [await keeping.tab() for _ in range(3)]
    await second.goto(f"{keeping.url}/elsewhere")
    await first.close()
    await publish(channel, 1)
    await got(third, 1)
    await go_back(second)
    await got(second, 1)
    await keeping.has_streams(1)


async def test_messages_published_while_the_user_is_on_another_page_of_the_site_are_shown_there(
    keeping, channel
):
    listener = await channel.aadd_listener(listener_id="till-7")
    await listener.astart()
    page = await keeping.tab("listener=till-7")
    await publish(channel, 1)
    await got(page, 1)
    await page.goto(f"{keeping.url}/tab?listener=till-7&types=n,m")
    await page.wait_for_function("window.states?.includes('live')")
    await publish(channel, 2)
    await got(page, 2)
    await go_back(page)
    await got(page, 1, 2)
    await publish(channel, 3)
    await got(page, 1, 2, 3)
    await keeping.has_streams(1)
