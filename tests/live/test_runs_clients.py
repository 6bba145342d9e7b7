"""
Runs read by the clients that exist, of the versions in clients/package.json.

Whatever happens during an answer, in the end each client has what its producer wrote, byte by
byte.
"""

import asyncio
import json
import os
import random
import sys
from contextlib import AsyncExitStack, ExitStack
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model

from eric_sse_django import runs
from eric_sse_django.authorization import make_ticket
from tests import emptying, forking, npm
from tests.conftest import missing
from tests.databases import sqlite_only
from tests.event_source import EventSourceClient
from tests.faults.proxy import Proxy
from tests.faults.scale import LONG_S
from tests.live import node_clients
from tests.live.asgi_servers import ROOT, ASGIServer, absence
from tests.live.node_clients import Client
from tests.live.runs_words import text
from tests.live.site import side_by_side, until
from tests.streams.asgi import session_of

SETTINGS = {
    "RETRY_MS": 100,
    "SQLITE_LOOK_INTERVAL_S": 0.02,
    "RUNS_LEASE_S": 2,
}
# A question: words, and the seconds between two of them. The answer is held in its middle until
# the test releases it, so that what happens during it does.
WORDS, PAUSE_S, HELD_AT = 150, 0.01, 75
LONG = f"{WORDS} {PAUSE_S} {HELD_AT}"

pytestmark = sqlite_only


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """Return the folder of the pages' scripts; the clients are installed."""
    npm.install()
    return tmp_path_factory.mktemp("scripts")


class Processes:
    """A server, and the worker that produces its runs."""

    def __init__(self, server):
        self.server = server
        self.worker = None

    def start(self):
        """Start what does not run: the server by its context, or what a test has killed."""
        if self.server.process.poll() is not None:
            self.server.start()
        if self.worker is None or self.worker.poll() is not None:
            with open(os.devnull, "wb") as nothing:
                self.worker = forking.popen(
                    [sys.executable, "-m", "tests.live.runs_worker"],
                    cwd=ROOT,
                    env=self.server.environment,
                    stdout=nothing,
                    stderr=sys.__stderr__.fileno(),
                    dies_with_us=True,
                )

    def kill_worker(self):
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()


class Site:
    """The processes, and a user with a session, whose runs it finds."""

    def __init__(self, processes, user, cookie):
        self.processes, self.user, self.cookie = processes, user, cookie
        self.server = processes.server
        self.url = self.server.url

    def client(self, script, **options):
        return Client(script, cookie=self.cookie, **options)

    async def kill_server(self):
        """Kill the server as a crash would, and start it on the same port."""
        self.server.kill()
        await sync_to_async(self.server.start)()

    async def kill_worker(self):
        """Kill the worker, and start a second one."""
        self.processes.kill_worker()
        self.processes.start()

    async def start(self, kind="answer", words=WORDS, pause_s=PAUSE_S, **options):
        """Start a run, which the worker finds. It is held as the others, if it is so long."""
        meta = {"words": words, "pause_s": pause_s, "held_at": HELD_AT}
        return await runs.astart(self.user, kind, meta=meta, **options)

    async def release(self):
        """Let the user's runs continue."""
        async for run in runs.Run.objects.filter(listener__owner=self.user):
            run.meta["released"] = True
            await run.asave(update_fields=["meta"])

    async def run(self):
        """Return the user's newest run."""
        return await runs.Run.objects.filter(listener__owner=self.user).order_by("-pk").afirst()

    async def produced(self):
        """Return what the producers of the newest run wrote, as the log has it."""
        return "".join([chunk.value for chunk in await runs.aread(await self.run())])


def server_of(name, scripts):
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.live.runs_settings",
        "ERIC_SSE_TEST_SCRIPTS": str(scripts),
    }
    return ASGIServer(name, settings=SETTINGS, environment=environment)


async def site_of(processes):
    """Return the site of a new user."""
    user = await get_user_model().objects.acreate(username=str(uuid4()))
    return Site(processes, user, (await session_of(user)).decode())


@pytest.fixture(scope="module")
def processes(django_db_setup, django_db_blocker, scripts):
    """Return the processes of all tests. What they know stays in the database meanwhile."""
    labels = ("eric_sse_django", "eric_sse_runs", "auth", "sessions")
    models = [model for label in labels for model in apps.get_app_config(label).get_models()]
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(emptying.keeping(*models)).add("default")
        found = Processes(stack.enter_context(server_of("uvicorn", scripts)))
        stack.callback(found.kill_worker)
        yield found


@pytest.fixture
async def site(database, processes):
    processes.start()
    return await site_of(processes)


# The AI SDK --------------------------------------------------------------------------------


async def test_a_chat_of_the_ai_sdk_gets_its_answer(site):
    async with site.client(
        "ai_sdk.mjs", api=f"{site.url}/api/chat", chat="c", send="30 0.01"
    ) as c:
        done = await c.until("done")
    assert done["text"] == text(30) == await site.produced()
    assert done["status"] == "ready"
    assert done["id"] == (await site.run()).id
    assert [part["type"] for part in done["parts"]] == ["text"]
    assert done["parts"][0]["state"] == "done"


async def test_a_chat_of_the_ai_sdk_resumes_after_a_cut_and_after_a_killed_server(site):
    async with Proxy(site.server.port) as proxy:
        options = {"api": f"{proxy.url}/api/chat", "chat": "cut", "send": LONG, "resumes": 50}
        async with site.client("ai_sdk.mjs", **options) as c:
            await c.until("began")
            proxy.cut()
            await c.until("error")
            proxy.repair()
            await until(lambda: "GET /api/chat/cut/stream" in site.server.log.read_text())
            await site.kill_server()
            await site.release()
            done = await c.until("done")
    assert done["text"] == text(WORDS) == await site.produced()
    assert (done["status"], done["messages"]) == ("ready", 2)


async def test_a_chat_of_the_ai_sdk_gets_what_a_second_worker_continues(site):
    async with site.client("ai_sdk.mjs", api=f"{site.url}/api/chat", chat="c", send=LONG) as c:
        await c.until("began")
        await site.kill_worker()
        await site.release()
        done = await c.until("done")
    assert done["text"] == text(WORDS) == await site.produced()
    assert (await site.run()).epoch == 2


# The workflow transport -----------------------------------------------------------------------


async def test_the_workflow_transport_reconnects_to_a_server_that_was_killed(site):
    async with site.client("workflow.mjs", api=f"{site.url}/api/workflow", send=LONG) as c:
        await c.until("began")
        await site.kill_server()
        await c.until("opened")
        await site.kill_server()
        await site.release()
        done = await c.until("done")
    assert done["text"] == text(WORDS) == await site.produced()
    # Where its chunks ended, and not from the beginning.
    starts = [line["url"] for line in c.lines if "startIndex" in line.get("url", "")]
    assert len(starts) >= 1
    assert not any(start.endswith("startIndex=0") for start in starts)


@pytest.mark.slow
async def test_the_workflow_transport_gets_what_a_second_worker_continues(site):
    async with site.client("workflow.mjs", api=f"{site.url}/api/workflow", send=LONG) as c:
        await c.until("began")
        await site.kill_worker()
        await site.release()
        done = await c.until("done")
    assert done["text"] == text(WORDS) == await site.produced()


async def test_the_workflow_transport_begins_with_the_last_chunks(site):
    run = await site.start(words=40, pause_s=0)  # not held
    while (await site.run()).is_active:
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


async def test_an_agent_of_ag_ui_gets_its_events_also_from_a_second_worker(site):
    options = {"url": f"{site.url}/api/agent", "thread": "t", "send": LONG}
    async with site.client("ag_ui.mjs", **options) as c:
        await c.until("began")
        await site.kill_worker()
        await site.release()
        done = await c.until("done")
    assert done["text"] == text(WORDS) == await site.produced()
    assert done["result"] == {"words": WORDS}
    assert done["types"][:3] == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
    assert done["types"][-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]


@pytest.mark.parametrize("transport", ["auto", pytest.param("single", marks=pytest.mark.slow)])
async def test_copilotkit_connects_during_a_run_and_afterwards(site, transport):
    options = {"url": f"{site.url}/api/copilotkit", "thread": "t", "transport": transport}
    async with site.client("copilotkit.mjs", **options, send=LONG) as first:
        await first.until("began")
        async with site.client("copilotkit.mjs", **options) as second:
            await second.until("began")
            await site.release()
            both = [await each.until("done") for each in (first, second)]
    async with site.client("copilotkit.mjs", **options) as third:
        both.append(await third.until("done"))
    assert text(WORDS) == await site.produced()
    for done in both:
        assert [(each["role"], each["content"]) for each in done["messages"]] == [
            ("user", LONG),
            ("assistant", text(WORDS)),
        ]
        assert done["errors"] == []


@pytest.mark.slow
async def test_copilotkit_connects_again_after_a_killed_server(site):
    options = {"url": f"{site.url}/api/copilotkit", "thread": "t"}
    async with site.client("copilotkit.mjs", **options, send=LONG) as c:
        await c.until("began")
        await site.kill_server()
        await site.release()
        assert (await c.until("done"))["errors"]  # it knows that it has not got all
    async with site.client("copilotkit.mjs", **options) as c:
        messages = (await c.until("done"))["messages"]
    assert [each["content"] for each in messages] == [LONG, text(WORDS)]


async def test_copilotkits_second_run_has_the_first_and_a_stop_ends_it(site):
    options = {"url": f"{site.url}/api/copilotkit", "thread": "t"}
    async with site.client("copilotkit.mjs", **options, send="20 0.01") as c:
        await c.until("done")
    async with site.client("copilotkit.mjs", **options, send=LONG, stop=1) as c:
        await c.until("done")
    assert (await site.run()).status == "stopped"
    async with site.client("copilotkit.mjs", **options) as c:
        messages = (await c.until("done"))["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[1]["content"] == text(20)
    assert text(HELD_AT).startswith(messages[3]["content"])


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
    )
    assert await page.text_content("#text") == text(WORDS)
    assert await page.text_content("#count") == "1"
    assert await page.text_content("#error") == ""


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
    await site.release()
    for each in (page, second, third):
        await is_done(each)
    assert await site.produced() == text(WORDS)
    assert await runs.Run.objects.filter(listener__owner=site.user).acount() == 1


@pytest.mark.slow
async def test_use_chat_resumes_after_a_killed_server(site, browser, chat_script):
    async with Proxy(site.server.port) as proxy:
        page = await opened(browser, site, chat_script, url=proxy.url)
        await page.fill("#question", LONG)
        await page.click("#send")
        await has_begun(page)
        await site.kill_server()
        await page.wait_for_function("document.querySelector('#status').textContent == 'error'")
        await page.click("#resume")
        await site.release()
        await page.wait_for_function("document.querySelector('#error').textContent == ''")
        await is_done(page)
    assert await site.produced() == text(WORDS)


async def test_use_chats_stop_ends_the_run_and_the_page_is_ready(site, browser, chat_script):
    page = await opened(browser, site, chat_script)
    await page.fill("#question", LONG)
    await page.click("#send")
    await has_begun(page)
    await page.click("#stop")
    await page.wait_for_function("document.querySelector('#status').textContent == 'ready'")
    found = await page.text_content("#text")
    run = await site.run()
    assert (run.status, found) == ("stopped", await site.produced())
    assert text(HELD_AT).startswith(found)


BAR = """path => new Promise((resolve, reject) => {
    window.widths = [];
    CeleryProgressBar.initProgressBar(path, {
        pollInterval: 50,
        maxNetworkRetryAttempts: 60,
        onProgress: (bar, message, progress) => widths.push(progress),
        onResult: (element, result) => resolve({ result, widths }),
        onNetworkError: () => {},
        onError: (bar, message, error) => reject(new Error(error)),
    });
})"""


async def test_celery_progress_script_shows_a_run_also_of_a_second_worker(site, browser, scripts):
    celery_progress = node_clients.celery_progress_script(scripts)
    page = await opened(browser, site, celery_progress)
    run = await site.start("export")
    bar = asyncio.ensure_future(page.evaluate(BAR, f"/progress/{run.id}/"))
    await page.wait_for_function("window.widths?.some((each) => each.current > 10)")
    await site.kill_worker()
    await site.kill_server()
    await site.release()
    found = await bar
    assert found["result"] == {"words": WORDS}
    assert found["widths"][-1]["percent"] == 100
    during = [each for each in found["widths"] if 0 < each["current"] < WORDS]
    assert during[-1]["current"] > during[0]["current"]
    assert during[0]["description"] == f"Word {during[0]['current'] - 1}"


TEXT = "document.querySelector('[data-run=text]').textContent"


async def test_the_element_continues_what_its_page_was_rendered_with(site, browser):
    run = await site.start()
    while not (await runs.aget(run.id)).next_index:
        await asyncio.sleep(0.05)
    page = await browser.new_page()
    await page.goto(f"{site.url}/run/{run.id}")
    rendered = await page.evaluate(TEXT)
    assert text(HELD_AT).startswith(rendered)
    await page.wait_for_function(f"text => {TEXT} === text", arg=text(HELD_AT))
    await site.kill_server()
    await site.release()
    await page.wait_for_selector("eric-run[status=finished]", state="attached")
    assert await page.evaluate(TEXT) == text(WORDS) == await site.produced()
    ended = await page.evaluate("end")
    await page.reload()
    assert await page.evaluate(TEXT) == text(WORDS)
    # Also to a script that comes after the element's.
    await page.wait_for_function("window.end")
    assert await page.evaluate("end") == ended
    assert ended["status"] == "finished"


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


async def test_an_event_source_continues_where_it_was_and_stops_at_the_end(site, browser):
    async with Proxy(site.server.port) as proxy:
        page = await browser.new_page()
        await page.goto(f"{proxy.url}/counters")
        run = await site.start()
        await page.evaluate(LISTEN, f"/events/runs/{run.id}/")
        await page.wait_for_function("text.length > 20")
        proxy.cut()
        await page.wait_for_function("states.length")
        proxy.repair()
        await page.wait_for_function("types.filter((each) => each == 'run').length > 1")
        await site.kill_worker()
        await site.kill_server()
        await site.release()
        # CLOSED: the client got 204, and gave up.
        await page.wait_for_function("states.at(-1) == 2")
        assert await page.evaluate("text") == text(WORDS) == await site.produced()
        assert (await page.evaluate("types"))[-1] == "run-finished"


# Servers ----------------------------------------------------------------------------------------


async def test_every_server_hands_over_and_shows_that_a_stream_is_not_complete(site, scripts):
    """The module's worker produces the runs of all."""
    names = ["daphne", "hypercorn", "granian"]
    if absent := list(filter(None, map(absence, names))):
        missing("; ".join(absent))

    async def check(name, turn):
        with ExitStack() as stack:
            server = await asyncio.to_thread(stack.enter_context, server_of(name, scripts))
            its = await site_of(Processes(server))
            await ends_in_order(its)
            # A client that disconnects frees its stream at once.
            chat = {"api": f"{its.url}/api/chat", "chat": "d", "send": LONG}
            async with its.client("ai_sdk.mjs", **chat) as c:
                await c.until("began")
            await until(lambda: "reason=client left" in server.log.read_text())
            await its.release()

    await side_by_side(check, names)


async def ends_in_order(site):
    """Stop a server during an answer: the client must not take the stream's end for the run's."""
    async with Proxy(site.server.port) as proxy:
        options = {"api": f"{proxy.url}/api/chat", "chat": "c", "send": LONG, "resumes": 50}
        async with site.client("ai_sdk.mjs", **options) as c:
            await c.until("began")
            await asyncio.to_thread(site.server.stop)
            await c.until("error")
            await asyncio.to_thread(site.server.start)
            await site.release()
            done = await c.until("done")
    assert done["text"] == text(WORDS)
    assert (done["status"], done["messages"]) == ("ready", 2)


# Again and again --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(LONG_S)
async def test_clients_get_every_byte_while_servers_and_workers_are_killed_again_and_again(site):
    words = 600
    run = await site.start(words=words, pause_s=0.03, thread="c")
    await site.release()
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
        while (await runs.aget(run.id)).status != "finished":
            await asyncio.sleep(random.uniform(0.5, 1.5))
            await site.kill_server()
            if random.random() < 0.3:
                await site.kill_worker()
        texts = [(await client.until("done"))["text"] for client in clients]
        await until(lambda: plain.closed)
    got = [record.event for record in plain.records if record.event.type == "run-chunk"]
    texts.append("".join([json.loads(event.data)["text"] for event in got]))
    assert texts == [text(words)] * 3
    assert await site.produced() == text(words)
