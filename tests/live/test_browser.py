"""The client in Chromium, through nginx: what breaks a stream, and what pages do with messages."""

from __future__ import annotations

import asyncio
import random

import psutil
import pytest
from asgiref.sync import sync_to_async

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.models import Listener
from eric_sse_django.shortcuts import acursor
from tests.databases import sqlite_only
from tests.faults.proxy import Proxy
from tests.faults.scale import sized
from tests.live import site, tabs
from tests.live.tabs import got

RETRY_MS = 200
STEPS = sized(8, 100)  # of the random walk
HEARTBEAT_S = 0.5
QUICK = {
    "RETRY_MS": RETRY_MS,
    "HEARTBEAT_S": HEARTBEAT_S,
    "SQLITE_LOOK_INTERVAL_S": 0.02,
    "RING_MESSAGES": 0,
}

pytestmark = sqlite_only


@pytest.fixture
async def channel(database):
    return await DatabaseChannel.acreate("orders")


@pytest.fixture
def server(channel, serve):
    environment = {"DJANGO_SETTINGS_MODULE": "tests.live.tabs_settings"}
    return serve("daphne", application=tabs.SITE, settings=QUICK, environment=environment)


@pytest.fixture
async def browser(server, proxy, chromium):
    async with tabs.launched(chromium, proxy(server)) as browser:
        yield browser


@pytest.fixture
async def link(server, proxy, chromium):
    """Return a link that can be cut, and a browser whose pages are behind it and nginx."""
    async with Proxy(server.port) as link:
        server.port, before = link.port, server.port
        url = proxy(server)
        server.port = before
        async with tabs.launched(chromium, url) as browser:
            yield link, browser


async def publish(channel, *numbers, type="n"):
    await channel.abroadcast_many([Message(type, number) for number in numbers])


async def until_state(page, state):
    await page.wait_for_function("state => states.at(-1) === state", arg=state)


async def started(channel, name="till-7", **options):
    listener = await channel.aadd_listener(listener_id=name, **options)
    await listener.astart()
    return listener


# What breaks a stream -------------------------------------------------------------------


async def test_a_deploy_during_which_the_proxy_answers_502(browser, channel, server):
    pages = [await browser.tab(), await browser.tab()]
    await publish(channel, 1)
    await got(pages[0], 1)
    server.terminate()
    server.wait()
    await until_state(pages[0], "reconnecting")
    await site.until(lambda: 502 in browser.statuses, 10)
    await publish(channel, 2)
    server.start()
    await publish(channel, 3)
    for page in pages:
        await got(page, 1, 2, 3)
        await until_state(page, "live")


async def test_it_waits_as_long_as_a_server_without_room_asks_and_tries_again_after_504_and_429(
    browser, channel
):
    page = await browser.page("/elsewhere")
    answers = [(503, {"Retry-After": "3"}), (504, {}), (429, {})]
    asked_at = []

    async def answer(route):
        asked_at.append(asyncio.get_running_loop().time())
        if answers:
            status, headers = answers.pop(0)
            await route.fulfill(status=status, headers=headers)
        else:
            await route.continue_()

    await page.route("**/events/**", answer)
    await page.goto(f"{browser.url}/tab")
    await until_state(page, "live")
    await publish(channel, 1)
    await got(page, 1)
    assert await page.evaluate("states") == ["reconnecting", "live"]
    first, second, third, fourth = asked_at
    assert second - first >= 3
    assert 0.5 <= third - second < fourth - second


async def test_an_expired_ticket_is_replaced_by_a_view(browser, channel):
    """Its answer is JSON here; that of docs/browser.md is text."""
    page = await browser.tab('ticket_s=2&options={"refresh":"/url.json"}')
    await site.until(lambda: 403 in browser.statuses, 15)
    await publish(channel, 1)
    await got(page, 1)


async def test_without_a_new_path_it_is_refused_until_the_page_is_shown(browser, channel):
    page = await browser.page('/tab?ticket_s=1&options={"refresh":null}')
    await until_state(page, "refused")
    count = len(browser.statuses)
    other = await browser.tab('options={"refresh":null}')  # with a valid ticket
    await until_state(page, "live")
    await publish(channel, 1)
    await got(page, 1)
    await got(other, 1)
    assert len(browser.statuses) <= count + 2
    page = await browser.blank()  # and an answer that is no stream
    await page.evaluate("""() => {
        window.stream = client.connect("/elsewhere", { onstate: state => states.push(state) });
    }""")
    await until_state(page, "refused")


async def test_a_listener_that_is_stopped_ends_all_tabs(browser, channel):
    listener = await started(channel)
    pages = [await browser.tab("listener=till-7") for _ in range(2)]
    await listener.astop()
    for page in pages:
        await until_state(page, "ended")
    count = len(browser.statuses)
    await asyncio.sleep(1)
    assert len(browser.statuses) == count
    assert browser.statuses[-1] == 204


async def test_a_link_that_is_cut_again_and_again(link, channel):
    proxy, browser = link
    pages, last = [await browser.tab() for _ in range(3)], 0
    for _ in range(6):
        await publish(channel, *range(last + 1, last + 21))
        await asyncio.sleep(0.05)
        proxy.cut()
        await publish(channel, *range(last + 21, last + 31))
        proxy.repair()
        last += 30
    for page in pages:
        await got(page, *range(1, last + 1))


async def test_a_link_that_is_silent_is_replaced(link, channel):
    """As after a sleep, or behind a router that forgot the connection: nobody closes it."""
    proxy, browser = link
    page = await browser.tab()
    await publish(channel, 1)
    await got(page, 1)
    proxy.hold()
    await publish(channel, 2)
    await until_state(page, "reconnecting")
    proxy.cut()
    proxy.repair()
    await publish(channel, 3)
    await got(page, 1, 2, 3)


async def test_a_machine_that_slept_continues(link, channel):
    proxy, browser = link
    pages = [await browser.tab(), await browser.tab()]
    asleep = [each for each in psutil.Process().children(True) if "chrom" in each.name()]
    assert asleep
    try:
        for process in asleep:
            process.suspend()
        await publish(channel, 1)
        proxy.cut()
        proxy.repair()
        await publish(channel, 2)
        await asyncio.sleep(5)
    finally:
        for process in asleep:
            process.resume()
    await publish(channel, 3)
    for page in pages:
        await got(page, 1, 2, 3)


async def test_a_browser_that_was_offline_continues_when_it_is_online(link, channel):
    proxy, browser = link
    page = await browser.tab()
    await browser.context.set_offline(True)
    proxy.cut()  # Chromium's offline mode keeps the connections that are open
    await until_state(page, "reconnecting")
    await publish(channel, 1)
    await asyncio.sleep(5)  # its pauses have grown
    proxy.repair()
    await browser.context.set_offline(False)
    await page.wait_for_function("got.length === 1", timeout=1_500)
    await publish(channel, 2)
    await got(page, 1, 2)


async def test_a_frozen_tab_gives_its_stream_up_and_continues(browser, channel):
    first, second = await browser.tab(), await browser.tab()
    debugger = await browser.context.new_cdp_session(first)
    await debugger.send("Page.setWebLifecycleState", {"state": "frozen"})
    await publish(channel, 1)
    await got(second, 1)
    await debugger.send("Page.setWebLifecycleState", {"state": "active"})
    await got(first, 1)
    await publish(channel, 2)
    for page in (first, second):
        await got(page, 1, 2)
    await browser.has_streams(1)


async def test_ten_tabs_have_one_connection_and_each_has_every_message(browser, channel):
    at = await acursor()
    pages, last = [], 0
    for _ in range(10):
        pages.append(await browser.tab(f"at={at}"))
        await publish(channel, *range(last + 1, last + 11))
        last += 10
    for page in pages:
        await got(page, *range(1, last + 1))
    await browser.has_streams(1)


async def test_a_visible_tab_notices_a_leader_that_hangs(browser, channel):
    """Without an event of the browser: this tab is visible all the time."""
    first, second = await browser.tab(), await browser.tab()
    await first.evaluate("void setTimeout(() => { for (;;); })")
    await second.evaluate("""() => {  // half a minute later
        const now = Date.now;
        Date.now = () => now() + 31_000;
    }""")
    await publish(channel, 1)
    await got(second, 1)


async def test_tabs_that_do_not_share_have_a_stream_each(browser, channel):
    pages = [await browser.tab('options={"share":false}') for _ in range(2)]
    # As without https.
    await browser.context.add_init_script("delete Navigator.prototype.locks")
    pages += [await browser.tab() for _ in range(2)]
    await publish(channel, 1, 2)
    for page in pages:
        await got(page, 1, 2)
    await browser.has_streams(4)


async def test_a_page_that_may_not_use_locks_has_its_own_stream(browser, channel):
    """As in a sandboxed frame, or where the user blocks all storage."""
    await browser.context.add_init_script("""
        const refused = new DOMException("", "SecurityError");
        LockManager.prototype.request = () => Promise.reject(refused);
    """)
    pages = [await browser.tab() for _ in range(2)]
    await publish(channel, 1, 2)
    for page in pages:
        await got(page, 1, 2)
    await browser.has_streams(2)
    await pages[0].evaluate("stream.close()")
    await browser.has_streams(1)


async def test_tabs_that_ask_who_leads_do_not_make_a_refused_stream_try_again(browser, channel):
    await browser.context.add_init_script("""
        const interval = setInterval;
        globalThis.setInterval = (call, ms) => interval(call, ms / 20);
    """)
    path = '/tab?ticket_s=1&options={"refresh":null}'
    pages = [await browser.page(path) for _ in range(2)]
    for page in pages:
        await until_state(page, "refused")
    count = len(browser.statuses)
    await pages[1].evaluate("""() => {  // half a minute later
        const url = new URL("/events/orders/", location);
        const channel = new BroadcastChannel(`eric-sse 1 ${url}`);
        channel.onmessage = ({ data }) => (window.isAnswered ||= data.kind === "here");
        const now = Date.now;
        Date.now = () => now() + 31_000;
    }""")
    await pages[1].wait_for_function("window.isAnswered")
    await browser.tab()  # with a valid ticket: then it tries again
    assert 403 not in browser.statuses[count:]


async def test_no_tab_misses_or_repeats_a_message_whatever_happens(link, channel, server):
    """A random walk, which the seed of pytest-randomly repeats."""
    proxy, browser = link
    pages, first, last = [], {}, 0

    async def open_tab():
        page = await browser.tab(f"at={await acursor()}")
        pages.append(page)
        first[page] = last + 1

    async def close_tab():
        if len(pages) > 2:
            await pages.pop(random.randrange(len(pages))).close()

    async def cut():
        proxy.cut()
        await publish_more(5)
        proxy.repair()

    async def freeze():
        debugger = await browser.context.new_cdp_session(random.choice(pages))
        await debugger.send("Page.setWebLifecycleState", {"state": "frozen"})
        await publish_more(5)
        await debugger.send("Page.setWebLifecycleState", {"state": "active"})

    async def leave():
        page = pages.pop(random.randrange(len(pages)))
        await page.goto(f"{browser.url}/elsewhere")
        await open_tab()

    async def publish_more(count):
        nonlocal last
        await publish(channel, *range(last + 1, last + count + 1))
        last += count

    await open_tab()
    await open_tab()
    for _ in range(STEPS):
        await random.choice([open_tab, close_tab, cut, cut, freeze, freeze, leave])()
        await publish_more(random.randint(1, 30))
    for page in pages:
        await page.wait_for_function("last => got.at(-1) === last", arg=last)
        numbers = await page.evaluate("got")
        assert numbers[0] <= first[page]  # its cursor may be before the youngest
        assert numbers == list(range(numbers[0], last + 1))
    await browser.has_streams(1)


# What pages do with messages ------------------------------------------------------------


async def test_a_loop_gets_the_messages_from_before_it_began(browser, channel):
    page = await browser.blank()
    await page.evaluate("""() => {
        window.stream = client.connect(url, { onstate: state => states.push(state) });
    }""")
    await until_state(page, "live")
    await publish(channel, 1, 2)
    await page.wait_for_function(
        "stream.lastEventId !== new URL(url, location).searchParams.get('last_event_id')"
    )
    await page.evaluate("""() => {
        window.loop = (async () => {
            for await (const { type, data } of stream) got.push([type, data]);
            return "ended";
        })();
    }""")
    await publish(channel, 3, type="m")
    await page.wait_for_function("got.length === 3")
    assert await page.evaluate("got") == [["n", 1], ["n", 2], ["m", 3]]
    await page.evaluate("stream.close()")
    assert await page.evaluate("loop") == "ended"


async def test_messages_that_nobody_takes_become_a_reset(browser, channel):
    page = await browser.blank()
    await page.evaluate("""() => {
        window.stream = client.connect(url, { onstate: state => states.push(state) });
    }""")
    await until_state(page, "live")
    first = await acursor() + 1
    await publish(channel, *range(10_001))
    head = first + 10_000
    await page.wait_for_function("head => Number(stream.lastEventId) >= head", arg=head)
    await page.evaluate("""() => void (async () => {
        for await (const { type, data } of stream) got.push([type, data]);
    })()""")
    await publish(channel, 1)
    await page.wait_for_function("got.length === 2")
    reset = {"after": first - 1, "floor": head}
    assert await page.evaluate("got") == [["eric-reset", reset], ["n", 1]]


async def test_an_error_of_a_listener_stops_nothing_and_text_is_read_as_text(browser, channel):
    page = await browser.blank()
    await page.evaluate("""() => {
        window.stream = client.connect(url, { onstate: state => states.push(state) });
        stream.on("n", () => { throw new Error("mine"); });
        stream.on("n", (number) => got.push(number));
    }""")
    await until_state(page, "live")
    await publish(channel, 1, 2)
    await got(page, 1, 2)
    await site.until(lambda: browser.problems == ["mine", "mine"])
    browser.problems.clear()
    await page.close()

    await DatabaseChannel.acreate("lines", format="text", access="everyone")
    page = await browser.blank()
    await page.evaluate("""() => {
        const onstate = state => states.push(state);
        window.stream = client.connect("/events/lines/", { parse: String, onstate });
        stream.on("line", (line) => got.push(line));
    }""")
    await until_state(page, "live")
    lines = await DatabaseChannel.aload("lines")
    await lines.abroadcast(Message("line", "1\n<b>two</b>\n"))
    await got(page, "1\n<b>two</b>\n")


# Resets ---------------------------------------------------------------------------------


async def broken(link, page, channel, *numbers):
    """Publish messages while the link is cut, and have them removed."""
    link.cut()
    await until_state(page, "reconnecting")
    await publish(channel, *numbers)
    await sync_to_async(site.lose)()
    link.repair()


async def test_a_reset_is_given_to_onreset_and_what_follows_waits_for_it(link, channel):
    proxy, browser = link
    page = await browser.blank()
    await page.evaluate("""() => {
        window.stream = client.connect(url, {
            onstate: state => states.push(state),
            onreset: ({ after, floor }) => new Promise((resolve) => {
                got.push(floor - after);
                window.release = () => (got.push("loaded"), resolve());
            }),
        });
        stream.on("n", (number) => got.push(number));
    }""")
    await until_state(page, "live")
    await broken(proxy, page, channel, 1, 2, 3)
    await page.wait_for_function("got.length")
    await publish(channel, 4)
    head = await acursor()
    await page.wait_for_function("head => Number(stream.lastEventId) >= head", arg=head)
    await page.evaluate("release()")
    await got(page, 3, "loaded", 4)


@pytest.mark.parametrize("failures", [2, 99])
async def test_an_onreset_that_fails_is_called_again_before_the_page_is_reloaded(
    link, channel, failures
):
    """As while a server is replaced, which is when messages may be gone."""
    proxy, browser = link
    await browser.context.add_init_script("""
        const timeout = setTimeout;
        globalThis.setTimeout = (call, ms, ...rest) => timeout(call, ms / 20, ...rest);
    """)
    page = await browser.blank()
    await page.evaluate(
        """(failures) => {
        window.isOld = true;
        window.stream = client.connect(url, {
            onstate: state => states.push(state),
            async onreset() {
                if (failures--) throw new Error("not loaded");
                got.push("loaded");
            },
        });
        stream.on("n", (number) => got.push(number));
    }""",
        failures,
    )
    await until_state(page, "live")
    await broken(proxy, page, channel, 1)
    if failures == 2:
        await publish(channel, 2)
        await got(page, "loaded", 2)
    else:
        await page.wait_for_function("window.client && !window.isOld")
        assert len(browser.problems) == 4
    assert set(browser.problems) == {"not loaded"}
    browser.problems.clear()


@pytest.mark.parametrize("storage", [True, False])
async def test_a_reset_reloads_the_page(link, channel, storage):
    proxy, browser = link
    if not storage:  # the user blocks it
        await browser.context.add_init_script("""
            const get = () => { throw new DOMException("", "SecurityError"); };
            Object.defineProperty(window, "sessionStorage", { get });
        """)
    page = await browser.tab('options={"onreset":"reload"}')
    await page.evaluate("window.isOld = true")
    await broken(proxy, page, channel, 1)
    await page.wait_for_function("!window.isOld && window.states?.includes('live')")
    await publish(channel, 2)
    await got(page, 2)


async def test_a_reset_loads_a_fragment_again(link, channel):
    proxy, browser = link
    page = await browser.blank()
    tries = []

    async def fragment(route):
        tries.append(route)
        if len(tries) == 1:  # it tries again
            await route.fulfill(status=502)
        else:
            await route.fulfill(body="<ul id=list><li>new</ul>", content_type="text/html")

    await page.route("**/fragment", fragment)
    await page.evaluate("""() => {
        window.list = document.getElementById("list");
        list.innerHTML = "<li>old</li>";
        const onreset = client.refetch("#list", "/fragment");
        const stream = client.connect(url, { onreset, onstate: state => states.push(state) });
        stream.on("n", (number) => got.push([number, list.textContent]));
    }""")
    await until_state(page, "live")
    await broken(proxy, page, channel, 1)
    await page.wait_for_function("list.textContent === 'new' && list.isConnected")
    await publish(channel, 2)
    await page.wait_for_function("got.length")
    assert await page.evaluate("got") == [[2, "new"]]


# Acknowledging --------------------------------------------------------------------------


@pytest.fixture
async def ada(browser, channel):
    """Return a listener of a user who is logged in, and who acknowledges."""
    return (await tabs.log_in(browser, channel, acknowledgement="client")).row


async def cursor_of(row):
    return (await Listener.objects.aget(pk=row.pk)).cursor


async def reaches(row, position, timeout_s=5.0):
    async def wait():
        while await cursor_of(row) != position:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), timeout_s)


ACKNOWLEDGE = """() => {
    window.stream = client.connect("/events/orders/till-7/", {
        acknowledge: true,
        onstate: state => states.push(state),
    });
    stream.on("n", (number) => { got.push(number); return window.work?.(number); });
}"""


async def test_what_was_processed_is_acknowledged_for_many_at_once_or_when_a_page_is_left(
    browser, channel, ada
):
    page = await browser.blank()
    posts = []
    page.on("request", lambda request: request.method == "POST" and posts.append(request.url))
    await page.evaluate(ACKNOWLEDGE)
    await until_state(page, "live")
    await publish(channel, *range(50))
    await got(page, *range(50))
    await reaches(ada, await acursor())
    assert len(posts) <= 2
    await publish(channel, 50)
    await got(page, *range(51))
    await page.goto(f"{browser.url}/elsewhere")
    await reaches(ada, await acursor(), 3)


async def test_what_is_being_processed_is_not_acknowledged_also_by_a_reconnect(
    browser, channel, ada, server
):
    page = await browser.blank()
    await page.evaluate(ACKNOWLEDGE)
    await page.evaluate("""() => {
        window.work = (number) => number === 2 && new Promise((resolve) => (window.end = resolve));
    }""")
    await until_state(page, "live")
    await publish(channel, 1)
    await got(page, 1)
    first = await acursor()
    await publish(channel, 2, 3)
    await got(page, 1, 2, 3)
    await reaches(ada, first)
    server.terminate()
    server.wait()
    server.start()
    await page.wait_for_function("states.filter(state => state === 'live').length === 2")
    await publish(channel, 4)
    await got(page, 1, 2, 3, 4)
    assert await cursor_of(ada) == first
    await page.evaluate("end()")
    await reaches(ada, await acursor())


async def test_what_fails_is_not_acknowledged(browser, channel, ada):
    page = await browser.blank()
    await page.evaluate(ACKNOWLEDGE)
    await page.evaluate("""() => {
        window.work = async (number) => { if (number === 2) throw new Error("mine"); };
    }""")
    await until_state(page, "live")
    await publish(channel, 1)
    await got(page, 1)
    first = await acursor()
    await reaches(ada, first)
    await publish(channel, 2, 3)
    await got(page, 1, 2, 3)
    await asyncio.sleep(1.5)
    assert await cursor_of(ada) == first
    assert set(browser.problems) == {"mine"}
    browser.problems.clear()
    again = await browser.blank()
    await page.close()
    await again.evaluate(ACKNOWLEDGE)
    await got(again, 2, 3)
