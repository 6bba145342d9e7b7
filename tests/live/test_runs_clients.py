"""
Runs read by the clients that exist, of the versions in clients/package-lock.json.

Whatever happens during an answer, in the end each client has what its producer wrote, byte by
byte.
"""

import asyncio
import json
import random
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from eric_sse_django import runs
from eric_sse_django.authorization import make_ticket
from tests.conftest import missing
from tests.databases import sqlite_only
from tests.event_source import EventSourceClient
from tests.faults.proxy import Proxy
from tests.faults.scale import LONG_S
from tests.live import node_clients
from tests.live.asgi_servers import ROOT, absence
from tests.live.node_clients import Client
from tests.live.runs_words import text
from tests.live.site import until
from tests.streams.asgi import session_of

SETTINGS = {
    "RETRY_MS": 100,
    "SQLITE_LOOK_INTERVAL_S": 0.02,
    "RUNS_LEASE_S": 2,
}
# A question: words, and the seconds between two of them.
LONG, WORDS = "150 0.02", 150


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """Return the folder of the pages' scripts; the clients are installed."""
    node_clients.install()
    return tmp_path_factory.mktemp("scripts")


class Site:
    """A server with runs, a worker that produces them, and the cookie of a user."""

    def __init__(self, server, cookie):
        self.server, self.cookie = server, cookie
        self.url = server.url

    def client(self, script, **options):
        return Client(script, cookie=self.cookie, **options)

    @asynccontextmanager
    async def worker(self):
        """Run a worker; yields its process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.live.runs_worker", cwd=ROOT, env=self.server.environment
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def restart(self):
        """Kill the server as a crash would, and start it on the same port."""
        self.server.kill()
        self.server.start()


async def site_of(serve, scripts, name):
    """Return the site of a new user on a started server."""
    user = await sync_to_async(get_user_model().objects.create)(username="ana")
    cookie = (await session_of(user)).decode()
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.live.runs_settings",
        "ERIC_SSE_TEST_SCRIPTS": str(scripts),
    }
    server = await sync_to_async(serve)(name, settings=SETTINGS, environment=environment)
    return Site(server, cookie)


@pytest.fixture
async def site(database, serve, scripts):
    site = await site_of(serve, scripts, "uvicorn")
    async with site.worker() as site.producer:
        yield site


async def produced():
    """Return what the only run's producer wrote, as the log has it."""
    run = await runs.Run.objects.aget()
    return "".join([chunk.value for chunk in await runs.aread(run)])


# The AI SDK --------------------------------------------------------------------------------


@sqlite_only
async def test_a_chat_of_the_ai_sdk_gets_its_answer(site):
    async with site.client(
        "ai_sdk.mjs", api=f"{site.url}/api/chat", chat="c", send="30 0.01"
    ) as c:
        done = await c.until("done")
    assert done["text"] == text(30) == await produced()
    assert done["status"] == "ready"
    assert done["id"] == (await runs.Run.objects.aget()).id
    assert [part["type"] for part in done["parts"]] == ["text"]
    assert done["parts"][0]["state"] == "done"


@sqlite_only
async def test_a_chat_of_the_ai_sdk_resumes_after_a_cut_and_after_a_killed_server(site):
    async with Proxy(site.server.port) as proxy:
        options = {"api": f"{proxy.url}/api/chat", "chat": "c", "send": LONG, "resumes": 50}
        async with site.client("ai_sdk.mjs", **options) as c:
            await c.until("began")
            proxy.cut()
            await c.until("error")
            proxy.repair()
            await asyncio.sleep(0.5)
            await sync_to_async(site.restart)()
            done = await c.until("done")
    assert done["text"] == text(WORDS) == await produced()
    assert (done["status"], done["messages"]) == ("ready", 2)


@sqlite_only
async def test_a_chat_of_the_ai_sdk_gets_what_a_second_worker_continues(site):
    async with site.client("ai_sdk.mjs", api=f"{site.url}/api/chat", chat="c", send=LONG) as c:
        await c.until("began")
        site.producer.kill()
        async with site.worker():
            done = await c.until("done")
    assert done["text"] == text(WORDS) == await produced()
    assert (await runs.Run.objects.aget()).epoch == 2


# The workflow transport -----------------------------------------------------------------------


@sqlite_only
async def test_the_workflow_transport_reconnects_to_a_server_that_was_killed(site):
    async with site.client("workflow.mjs", api=f"{site.url}/api/workflow", send=LONG) as c:
        await c.until("began")
        await sync_to_async(site.restart)()
        await c.until("opened")
        await sync_to_async(site.restart)()
        done = await c.until("done")
    assert done["text"] == text(WORDS) == await produced()
    # Where its chunks ended, and not from the beginning.
    starts = [line["url"] for line in c.lines if "startIndex" in line.get("url", "")]
    assert len(starts) >= 1
    assert not any(start.endswith("startIndex=0") for start in starts)


@sqlite_only
async def test_the_workflow_transport_gets_what_a_second_worker_continues(site):
    async with site.client("workflow.mjs", api=f"{site.url}/api/workflow", send=LONG) as c:
        await c.until("began")
        site.producer.kill()
        async with site.worker():
            done = await c.until("done")
    assert done["text"] == text(WORDS) == await produced()


@sqlite_only
async def test_the_workflow_transport_begins_with_the_last_chunks(site):
    user = await get_user_model().objects.aget()
    run = await runs.astart(user, "answer", meta={"words": 40, "pause_s": 0})
    while (await runs.Run.objects.aget()).is_active:
        await asyncio.sleep(0.05)
    options = {"api": f"{site.url}/api/workflow", "run": run.id}
    async with site.client("workflow.mjs", **options) as c:
        whole = (await c.until("end"))["chunks"]
        assert (await c.until("done"))["text"] == text(40)
    # start, text-start, 40 texts, text-end, finish
    assert whole == 44
    async with site.client("workflow.mjs", **options, start=-10) as c:
        # As it ends it has counted from the index that the server sent.
        assert (await c.until("end"))["chunks"] == 44
        # The beginning of its text is not among them, so it drops the text.
        assert (await c.until("done"))["text"] == ""


# AG-UI ------------------------------------------------------------------------------------------


@sqlite_only
async def test_an_agent_of_ag_ui_gets_its_events_also_from_a_second_worker(site):
    options = {"url": f"{site.url}/api/agent", "thread": "t", "send": LONG}
    async with site.client("ag_ui.mjs", **options) as c:
        await c.until("began")
        site.producer.kill()
        async with site.worker():
            done = await c.until("done")
    assert done["text"] == text(WORDS) == await produced()
    assert done["result"] == {"words": WORDS}
    assert done["types"][:3] == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
    assert done["types"][-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]


@sqlite_only
@pytest.mark.parametrize("transport", ["auto", "single"])
async def test_copilotkit_connects_during_a_run_and_afterwards(site, transport):
    options = {"url": f"{site.url}/api/copilotkit", "thread": "t", "transport": transport}
    async with site.client("copilotkit.mjs", **options, send=LONG) as first:
        await first.until("began")
        async with site.client("copilotkit.mjs", **options) as second:
            await second.until("began")
            both = [await each.until("done") for each in (first, second)]
    async with site.client("copilotkit.mjs", **options) as third:
        both.append(await third.until("done"))
    assert text(WORDS) == await produced()
    for done in both:
        assert [(each["role"], each["content"]) for each in done["messages"]] == [
            ("user", LONG),
            ("assistant", text(WORDS)),
        ]
        assert done["errors"] == []


@sqlite_only
async def test_copilotkit_connects_again_after_a_killed_server(site):
    options = {"url": f"{site.url}/api/copilotkit", "thread": "t"}
    async with site.client("copilotkit.mjs", **options, send=LONG) as c:
        await c.until("began")
        await sync_to_async(site.restart)()
        assert (await c.until("done"))["errors"]  # it knows that it has not got all
    async with site.client("copilotkit.mjs", **options) as c:
        messages = (await c.until("done"))["messages"]
    assert [each["content"] for each in messages] == [LONG, text(WORDS)]


@sqlite_only
async def test_copilotkits_second_run_has_the_first_and_a_stop_ends_it(site):
    options = {"url": f"{site.url}/api/copilotkit", "thread": "t"}
    async with site.client("copilotkit.mjs", **options, send="20 0.01") as c:
        await c.until("done")
    async with site.client("copilotkit.mjs", **options, send="1000 0.02", stop=1) as c:
        await c.until("done")
    run = await runs.Run.objects.order_by("-pk").afirst()
    assert run.status == "stopped"
    async with site.client("copilotkit.mjs", **options) as c:
        messages = (await c.until("done"))["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[1]["content"] == text(20)
    assert text(1000).startswith(messages[3]["content"])


# Chromium ---------------------------------------------------------------------------------------

async_api = pytest.importorskip("playwright.async_api")


@pytest.fixture
async def browser(chromium, site):
    """Return a browser's context with the user's session."""
    name, _, value = site.cookie.partition("=")
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await process.new_context()
        await context.add_cookies([{"name": name, "value": value, "url": site.url}])
        yield context
        await process.close()


@pytest.fixture(scope="session")
def chat_script(scripts):
    return node_clients.bundle(node_clients.SOURCES / "chat.jsx", scripts).name


async def opened(browser, site, script, chat="c", url=None):
    page = await browser.new_page()
    await page.goto(f"{url or site.url}/page/{script}?chat={chat}")
    return page


async def has_begun(page):
    """Return the text so far, once there is some."""
    await page.wait_for_function("document.querySelector('#text')?.textContent.length > 20")
    return await page.text_content("#text")


async def is_done(page):
    """Return once the page's chat is ready, and its answer is what was asked for."""
    await page.wait_for_function(
        "() => document.querySelector('#status')?.textContent == 'ready'"
        " && document.querySelector('#text').textContent.length > 0",
        timeout=30_000,
    )
    assert await page.text_content("#text") == text(WORDS)
    assert await page.text_content("#count") == "1"
    assert await page.text_content("#error") == ""


@sqlite_only
async def test_use_chat_resumes_after_a_reload_in_a_second_tab_and_after_back(
    site, browser, chat_script
):
    page = await opened(browser, site, chat_script)
    await page.fill("#question", LONG)
    await page.click("#send")
    await has_begun(page)
    await page.reload()
    assert text(WORDS).startswith(await has_begun(page))
    second = await opened(browser, site, chat_script)
    await has_begun(second)
    third = await opened(browser, site, chat_script)
    await has_begun(third)
    await third.goto(f"{site.url}/counters")
    await third.go_back()
    for each in (page, second, third):
        await is_done(each)
    assert await produced() == text(WORDS)
    assert await runs.Run.objects.acount() == 1


@sqlite_only
async def test_use_chat_resumes_after_a_killed_server(site, browser, chat_script):
    async with Proxy(site.server.port) as proxy:
        page = await opened(browser, site, chat_script, url=proxy.url)
        await page.fill("#question", LONG)
        await page.click("#send")
        await has_begun(page)
        await sync_to_async(site.restart)()
        await page.wait_for_function("document.querySelector('#status').textContent == 'error'")
        await page.click("#resume")
        await page.wait_for_function("document.querySelector('#error').textContent == ''")
        await is_done(page)
    assert await produced() == text(WORDS)


@sqlite_only
async def test_use_chats_stop_ends_the_run_and_the_page_is_ready(site, browser, chat_script):
    page = await opened(browser, site, chat_script)
    await page.fill("#question", "1000 0.02")
    await page.click("#send")
    await has_begun(page)
    await page.click("#stop")
    await page.wait_for_function("document.querySelector('#status').textContent == 'ready'")
    found = await page.text_content("#text")
    run = await runs.Run.objects.aget()
    assert (run.status, found) == ("stopped", await produced())
    assert text(1000).startswith(found)


BAR = """path => new Promise((resolve, reject) => {
    window.widths = [];
    CeleryProgressBar.initProgressBar(path, {
        pollInterval: 50,
        onProgress: (bar, message, progress) => widths.push(progress),
        onResult: (element, result) => resolve({ result, widths }),
        onNetworkError: () => {},
        onError: (bar, message, error) => reject(new Error(error)),
    });
})"""


@sqlite_only
async def test_celery_progress_script_shows_a_run_also_of_a_second_worker(site, browser, scripts):
    celery_progress = node_clients.celery_progress_script(scripts)
    page = await opened(browser, site, celery_progress)
    user = await get_user_model().objects.aget()
    run = await runs.astart(user, "export", meta={"words": WORDS, "pause_s": 0.02})
    bar = asyncio.ensure_future(page.evaluate(BAR, f"/progress/{run.id}/"))
    await page.wait_for_function("window.widths?.some((each) => each.current > 10)")
    site.producer.kill()
    await sync_to_async(site.restart)()
    async with site.worker():
        found = await bar
    assert found["result"] == {"words": WORDS}
    assert found["widths"][-1]["percent"] == 100
    during = [each for each in found["widths"] if 0 < each["current"] < WORDS]
    assert during[-1]["current"] > during[0]["current"]
    assert during[0]["description"] == f"Word {during[0]['current'] - 1}"


TEXT = "document.querySelector('[data-run=text]').textContent"


@sqlite_only
async def test_the_element_continues_what_its_page_was_rendered_with(site, browser):
    user = await get_user_model().objects.aget()
    run = await runs.astart(user, "answer", meta={"words": WORDS, "pause_s": 0.02})
    while not (await runs.aget(run.id)).next_index:
        await asyncio.sleep(0.05)
    page = await browser.new_page()
    await page.goto(f"{site.url}/run/{run.id}")
    rendered = await page.evaluate(TEXT)
    assert rendered
    await page.wait_for_function(f"count => {TEXT}.length > count", arg=len(rendered))
    await sync_to_async(site.restart)()
    await page.wait_for_selector("eric-run[status=finished]", timeout=30_000, state="attached")
    assert await page.evaluate(TEXT) == text(WORDS) == await produced()
    await page.reload()
    assert await page.evaluate(TEXT) == text(WORDS)


LISTEN = """path => {
    window.text = "";
    window.types = [];
    window.states = [];
    const source = new EventSource(path);
    source.onerror = () => states.push(source.readyState);
    for (const type of ["run", "run-chunk", "run-progress", "run-finished"]) {
        source.addEventListener(type, (event) => {
            types.push(type);
            if (type == "run-chunk") text += JSON.parse(event.data).text;
        });
    }
}"""


@sqlite_only
async def test_an_event_source_continues_where_it_was_and_stops_at_the_end(site, browser):
    async with Proxy(site.server.port) as proxy:
        page = await browser.new_page()
        await page.goto(f"{proxy.url}/counters")
        user = await get_user_model().objects.aget()
        run = await runs.astart(user, "answer", meta={"words": WORDS, "pause_s": 0.02})
        await page.evaluate(LISTEN, f"/events/runs/{run.id}/")
        await page.wait_for_function("text.length > 20")
        proxy.cut()
        await asyncio.sleep(0.3)
        proxy.repair()
        await page.wait_for_function("types.filter((each) => each == 'run').length > 1")
        site.producer.kill()
        await sync_to_async(site.restart)()
        async with site.worker():
            # CLOSED: the client got 204, and gave up.
            await page.wait_for_function("states.at(-1) == 2", timeout=30_000)
        assert await page.evaluate("text") == text(WORDS) == await produced()
        assert (await page.evaluate("types"))[-1] == "run-finished"


# Servers ----------------------------------------------------------------------------------------


@sqlite_only
@pytest.mark.parametrize("name", ["daphne", "hypercorn", "granian"])
async def test_every_server_hands_over_and_shows_that_a_stream_is_not_complete(
    database, serve, scripts, name
):
    if absence(name):
        missing(absence(name))
    site = await site_of(serve, scripts, name)
    async with site.worker(), Proxy(site.server.port) as proxy:
        options = {"api": f"{proxy.url}/api/chat", "chat": "c", "send": LONG, "resumes": 50}
        async with site.client("ai_sdk.mjs", **options) as c:
            await c.until("began")
            # It ends its streams in order, and the client must not take that for the run's end.
            await sync_to_async(site.server.stop)()
            await c.until("error")
            await sync_to_async(site.server.start)()
            done = await c.until("done")
        assert done["text"] == text(WORDS) == await produced()
        assert (done["status"], done["messages"]) == ("ready", 2)
        # A client that disconnects frees its stream at once.
        async with site.client("ai_sdk.mjs", api=f"{site.url}/api/chat", chat="d", send=LONG) as c:
            await c.until("began")
        await until(lambda: "reason=client left" in site.server.log.read_text())


# Again and again --------------------------------------------------------------------------------


@sqlite_only
@pytest.mark.slow
@pytest.mark.timeout(LONG_S)
async def test_clients_get_every_byte_while_servers_and_workers_are_killed_again_and_again(site):
    words = 600
    user = await get_user_model().objects.aget()
    run = await runs.astart(user, "answer", thread="c", meta={"words": words, "pause_s": 0.03})
    ticket = await sync_to_async(make_ticket)(run.listener.channel, run.listener)
    plain = EventSourceClient(f"{site.url}/events/runs/{run.id}/?ticket={ticket}")
    chat = {"api": f"{site.url}/api/chat", "chat": "c", "resumes": 500}
    workflow = {"api": f"{site.url}/api/workflow", "run": run.id}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(plain)
        clients = [
            await stack.enter_async_context(site.client(script, **options))
            for script, options in (("ai_sdk.mjs", chat), ("workflow.mjs", workflow))
        ]
        for client in clients:
            await client.until("began")
        workers = [site.producer]
        while (await runs.aget(run.id)).status != "finished":
            await asyncio.sleep(random.uniform(0.5, 1.5))
            await sync_to_async(site.restart)()
            if random.random() < 0.3:
                workers[-1].kill()
                workers.append(await stack.enter_async_context(site.worker()))
        texts = [(await client.until("done"))["text"] for client in clients]
        await until(lambda: plain.closed, 20)
    got = [record.event for record in plain.records if record.event.type == "run-chunk"]
    texts.append("".join([json.loads(event.data)["text"] for event in got]))
    assert texts == [text(words)] * 3
    assert await produced() == text(words)
