"""useRun in Chromium with React, Vue, Svelte and without a framework: the whole output, once."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model

from eric_sse_django import runs
from eric_sse_django.runs import compaction
from tests import forking
from tests.databases import sqlite_only
from tests.faults.proxy import Proxy
from tests.live import tabs
from tests.live.asgi_servers import ROOT
from tests.live.runs_words import text
from tests.live.tabs_urls import blocks
from tests.streams.asgi import session_of

SETTINGS = {"RETRY_MS": 100, "SQLITE_LOOK_INTERVAL_S": 0.02, "RUNS_LEASE_S": 2}
FRAMEWORKS = ("plain", "react", "vue", "svelte")
# A run is held before this word until the test releases it: so it happens in the middle.
WORDS, HELD_AT = 60, 30
PROGRESS = {"done": HELD_AT, "total": WORDS, "text": f"Word {HELD_AT - 1}"}
HELD = {"text": text(HELD_AT), "values": [], "index": HELD_AT, "progress": PROGRESS}
WHOLE = {
    "text": text(WORDS),
    "values": [],
    "index": WORDS,
    "progress": {"done": WORDS, "total": WORDS, "text": f"Word {WORDS - 1}"},
    "result": {"words": WORDS},
}
ROOT_TEXT = "document.querySelector('#root').textContent"

pytestmark = sqlite_only


class Site:
    """
    A server behind nginx, with a link between them that can be cut; a worker; ana's browser.

    The browser opens six connections: no more pages show a run at the same time.
    """

    def __init__(self, server, link, browser, apps):
        self.server, self.link, self.browser, self.apps = server, link, browser, apps
        self.worker = None

    def start_worker(self):
        self.worker = forking.popen(
            [sys.executable, "-m", "tests.live.runs_worker"],
            cwd=ROOT,
            env=self.server.environment,
            stdout=1,
            stderr=2,
            dies_with_us=True,
        )

    def kill_worker(self):
        self.worker.kill()
        self.worker.wait()

    async def run(self):
        """Start a run, which the worker finds."""
        user = await get_user_model().objects.aget()
        meta = {"words": WORDS, "pause_s": 0.005, "held_at": HELD_AT}
        return await runs.astart(user, "answer", meta=meta)

    async def release(self):
        async for run in runs.Run.objects.all():
            run.meta["released"] = True
            await run.asave(update_fields=["meta"])

    async def page(self, framework, run):
        """Return a page that shows a run."""
        page = await self.browser.page("/counters")
        await self.show(page, framework, run)
        return page

    async def show(self, page, framework, run):
        await page.evaluate(f"window.url = '/events/runs/{run.id}/'")
        await page.evaluate("document.body.innerHTML = '<p id=root></p>'")
        app = (self.apps / f"run_{framework}.js").read_text()
        await page.add_script_tag(type="module", content=app)
        await page.evaluate(f"void (window.shown = () => JSON.parse({ROOT_TEXT} || '{{}}'))")


@pytest.fixture
async def site(database, serve, proxy, chromium, apps):
    environment = {"DJANGO_SETTINGS_MODULE": "tests.live.runs_settings"}
    server = await sync_to_async(serve)("uvicorn", settings=SETTINGS, environment=environment)
    user = await get_user_model().objects.acreate(username="ana")
    _, _, value = (await session_of(user)).decode().partition("=")
    async with Proxy(server.port) as link:
        server.port, before = link.port, server.port
        url = proxy(server)
        server.port = before
        async with tabs.launched(chromium, url) as browser:
            cookie = {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": url}
            await browser.context.add_cookies([cookie])
            site = Site(server, link, browser, apps)
            site.start_worker()
            yield site
            site.kill_worker()


async def shows(page, status, state, expected):
    """Wait until a page shows a run with a status and its stream with a state; check the rest."""
    await page.wait_for_function(
        "all => { const run = shown(); return run.status === all[0] && run.state === all[1]; }",
        arg=[status, state],
    )
    shown = json.loads(await page.inner_text("#root"))
    assert shown == {"status": status, "state": state, **expected}


async def is_held(page):
    """Wait until a page shows all that there is of a run that is held."""
    # In a page that attaches later the progress is first, in others the text.
    both = "count => { const run = shown(); return run.index === count"
    both += " && run.progress?.done === count; }"
    await page.wait_for_function(both, arg=HELD_AT)
    await shows(page, "running", "live", HELD)


async def close(*pages):
    for page in pages:
        await page.close()


async def test_a_run_is_shown_while_it_is_written_in_later_pages_and_after_a_reload(site):
    for framework in FRAMEWORKS:
        run = await site.run()
        page = await site.page(framework, run)
        await is_held(page)
        later = await site.page(framework, run)
        await is_held(later)
        await page.reload()
        await site.show(page, framework, run)
        await is_held(page)
        await site.release()
        after = await site.page(framework, run)
        for each in (page, later, after):
            await shows(each, "finished", "ended", WHOLE)
        await close(page, later, after)


async def test_a_run_that_is_stopped_fails_or_is_lost_is_shown_as_that_and_continues(site):
    for framework in FRAMEWORKS:
        stopped, failed = [await site.run() for _ in range(2)]
        pages = [await site.page(framework, run) for run in (stopped, failed)]
        for page in pages:
            await is_held(page)
        await runs.astop(stopped)
        await runs.afail(failed, "the model refused")
        await shows(pages[0], "stopped", "ended", HELD)
        await shows(pages[1], "failed", "ended", {**HELD, "error": "the model refused"})
        await close(*pages)
    lost = await site.run()
    pages = [await site.page(framework, lost) for framework in FRAMEWORKS]
    for page in pages:
        await is_held(page)
    site.kill_worker()
    for page in pages:
        await shows(page, "lost", "live", HELD)
    await site.release()
    site.start_worker()
    for page in pages:
        await shows(page, "finished", "ended", WHOLE)


async def test_nothing_is_missing_or_twice_after_a_cut_and_a_502(site):
    run = await site.run()
    pages = [await site.page(framework, run) for framework in FRAMEWORKS]
    for page in pages:
        await is_held(page)
    site.link.cut()
    for page in pages:
        await shows(page, "running", "reconnecting", HELD)
    while 502 not in site.browser.statuses:
        await pages[0].evaluate("0")
        await asyncio.sleep(0.05)
    site.link.repair()
    for page in pages:
        await is_held(page)
    await sync_to_async(site.server.kill)()
    await site.release()  # the worker continues meanwhile
    await sync_to_async(site.server.start)()
    for page in pages:
        await shows(page, "finished", "ended", WHOLE)


async def test_output_that_was_compacted_in_the_meantime_is_shown_once(site):
    run = await site.run()
    pages = [await site.page(framework, run) for framework in FRAMEWORKS]
    for page in pages:
        await is_held(page)
    site.link.cut()
    await site.release()
    while not (await runs.aget(run.id)).has_ended:
        await asyncio.sleep(0.05)
    run = await runs.aget(run.id)
    assert await sync_to_async(compaction.compact)(run)  # as an hour after its end
    site.link.repair()
    for page in pages:
        await shows(page, "finished", "ended", WHOLE)


async def test_the_block_of_the_documentation_shows_a_run(site):
    [block] = [block for block in blocks("js") if "useRun" in block]
    for name in ("index", "store"):
        body = (site.apps / "dist" / f"{name}.js").read_text()
        await site.browser.context.route(f"**/{name}.js", script(body))
    page = await site.browser.page("/counters")
    await page.evaluate("void (window.show = (...all) => (window.last = all))")
    await page.add_script_tag(
        type="importmap", content='{"imports": {"eric-sse/store": "/store.js"}}'
    )
    run = await site.run()
    await site.release()
    module = block.replace("5d1c", run.id)
    await page.add_script_tag(type="module", content=module)
    await page.wait_for_function("window.last?.[0] === 'finished'")
    assert await page.evaluate("last") == ["finished", text(WORDS)]


def script(body):
    """Return a handler that answers with a script."""

    async def answer(route):
        await route.fulfill(body=body, content_type="text/javascript")

    return answer
