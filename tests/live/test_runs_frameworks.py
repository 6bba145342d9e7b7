"""useRun in Chromium with React, Vue, Svelte and without a framework: the whole output, once."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model

from tests import forking
from tests.databases import sqlite_only
from tests.faults.proxy import Proxy
from tests.live import tabs
from tests.live.asgi_servers import ROOT
from tests.live.tabs_urls import blocks
from tests.streams.asgi import session_of

runs = pytest.importorskip("eric_sse_django.runs")
words = pytest.importorskip("tests.live.runs_words")

SETTINGS = {"RETRY_MS": 100, "SQLITE_LOOK_INTERVAL_S": 0.02, "RUNS_LEASE_S": 2}
WORDS = 100
ROOT_TEXT = "document.querySelector('#root').textContent"

pytestmark = sqlite_only


@pytest.fixture
async def site(database, serve, chromium):
    """Return a link that can be cut, the server behind it, and the browser of ana before it."""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.live.runs_settings"}
    server = await sync_to_async(serve)("uvicorn", settings=SETTINGS, environment=environment)
    user = await sync_to_async(get_user_model().objects.create)(username="ana")
    _, _, value = (await session_of(user)).decode().partition("=")
    async with Proxy(server.port) as link, tabs.launched(chromium, link.url) as browser:
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": link.url}
        await browser.context.add_cookies([cookie])
        async with worker(server):
            yield link, server, browser


@asynccontextmanager
async def worker(server):
    """Run a worker, which produces the runs that wait."""
    command = [sys.executable, "-m", "tests.live.runs_worker"]
    process = await forking.start(command, cwd=ROOT, env=server.environment)
    yield
    process.kill()
    await process.wait()


async def started():
    user = await get_user_model().objects.aget()
    return await runs.astart(user, "answer", meta={"words": WORDS, "pause_s": 0.02})


async def shown_by(browser, apps, framework, run):
    """Return a page that shows a run."""
    page = await browser.page("/counters")
    await page.evaluate(f"window.url = '/events/runs/{run.id}/'")
    await page.evaluate("document.body.innerHTML = '<p id=root></p>'")
    app = (apps / f"run_{framework}.js").read_text()
    await page.add_script_tag(type="module", content=app)
    await page.evaluate(f"void (window.shown = () => JSON.parse({ROOT_TEXT} || '{{}}'))")
    return page


async def is_complete(page):
    """Wait until the stream has ended; check that the page shows all that was written."""
    await page.wait_for_function("shown().state === 'ended'", timeout=30_000)
    assert json.loads(await page.inner_text("#root")) == {
        "state": "ended",
        "status": "finished",
        "text": words.text(WORDS),
        "values": [],
        "progress": {"done": WORDS, "total": WORDS, "text": f"Word {WORDS - 1}"},
        "result": {"words": WORDS},
    }


@pytest.mark.parametrize("framework", ["plain", "react", "vue", "svelte"])
async def test_the_output_is_shown_as_it_comes_and_whole_to_a_page_that_opens_later(
    site, apps, framework
):
    _, _, browser = site
    run = await started()
    page = await shown_by(browser, apps, framework, run)
    await page.wait_for_function("shown().text?.length > 20")
    assert (await page.evaluate("shown()"))["status"] == "running"
    later = await shown_by(browser, apps, framework, run)
    await is_complete(page)
    await is_complete(later)
    await is_complete(await shown_by(browser, apps, framework, run))


async def test_nothing_is_missing_or_twice_after_a_cut_and_a_killed_server(site, apps):
    link, server, browser = site
    page = await shown_by(browser, apps, "react", await started())
    await page.wait_for_function("shown().text?.length > 20")
    link.cut()
    await page.wait_for_function("shown().state === 'reconnecting'")
    link.repair()
    await page.wait_for_function("shown().state === 'live'")
    await sync_to_async(server.kill)()
    await sync_to_async(server.start)()
    await is_complete(page)


async def test_the_block_of_the_documentation_shows_a_run(site, apps):
    _, _, browser = site
    [block] = [block for block in blocks("js") if "useRun" in block]
    for name in ("index", "store"):
        body = (apps / "dist" / f"{name}.js").read_text()
        await browser.context.route(
            f"**/{name}.js",
            lambda route, body=body: route.fulfill(body=body, content_type="text/javascript"),
        )
    page = await browser.page("/counters")
    await page.evaluate("void (window.show = (...all) => (window.last = all))")
    await page.add_script_tag(
        type="importmap", content='{"imports": {"eric-sse/store": "/store.js"}}'
    )
    module = block.replace("5d1c", (await started()).id)
    await page.add_script_tag(type="module", content=module)
    await page.wait_for_function("window.last?.[0] === 'finished'", timeout=30_000)
    assert await page.evaluate("last") == ["finished", words.text(WORDS)]
