"""Pages of htmx, Turbo, Datastar, Unpoly and Alpine AJAX in Chromium, through nginx."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import psutil
import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from eric_sse_django.broadcasts import Broadcast, registry
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hypermedia import abroadcast_template, broadcast_template
from tests import databases
from tests.faults.proxy import Proxy
from tests.live import site as sites
from tests.patience import PATIENCE_MS, PATIENCE_S
from tests.shop.models import Order

async_api = pytest.importorskip("playwright.async_api")

SITE = "tests.live.hyper_asgi:application"


class Case(NamedTuple):
    """A library, whether its stream is a listener's, and whether it is that of <eric-stream>."""

    library: str
    listener: bool = False
    shared: bool = False

    @property
    def channel(self):
        return f"orders-{self.library}{'-shared' if self.shared else ''}"


CASES = [Case("htmx2", listener=True), Case("htmx4"), Case("turbo")]
CASES += [Case(name, shared=True) for name in ("htmx2", "htmx4", "turbo")]
CASES += [Case(name) for name in ("datastar", "unpoly", "alpine", "plain")]
# Each stream that survives errors (that of Turbo closes permanently), once.
STREAMS = [Case("htmx2", listener=True), Case("htmx4"), Case("datastar"), Case("plain")]
# Pages of <eric-stream>, with a library and without.
OWN = [Case("turbo", shared=True), Case("plain")]

pytestmark = databases.sqlite_only


@pytest.fixture
def channels(database):
    if databases.USERS is not None:
        pytest.skip("the models are in another database than the log")
    return [DatabaseChannel.create(case.channel, format="text") for case in CASES]


class Site:
    """A running site behind a link that can be cut and nginx, and a browser with pages of it."""

    def __init__(self, server, link, url, browser):
        self.server, self.link, self.url, self.browser = server, link, url, browser
        self.problems, self.statuses = [], []

    async def page(self, case, context=None):
        # A browser has six connections to a site, and each context its own.
        context = context or await self.browser.new_context()
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.problems.append((case, str(error))))
        page.on("console", lambda line: self.note(case, line))
        page.on("response", lambda found: self.statuses.append(found.status))
        query = f"library={case.library}&channel={case.channel}"
        query += "&source=listener" if case.listener else ""
        await page.goto(f"{self.url}/page?{query}{'&shared=1' if case.shared else ''}")
        return page

    async def pages(self, cases):
        return [(case, await self.page(case)) for case in cases]

    def note(self, case, line):
        if line.type == "error":
            self.problems.append((case, line.text))


@asynccontextmanager
async def running(serve, proxy, modules, chromium, **settings):
    """Run a site; its browser has a back/forward cache, as for people."""
    server = serve(
        "daphne",
        application=SITE,
        environment={"ERIC_SSE_TEST_NODE_MODULES": str(modules)},
        settings={"RETRY_MS": 200, "HEARTBEAT_S": 0.5, **settings},
    )
    async with Proxy(server.port) as link, async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox"],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield Site(server, link, proxy(link), browser)
        await browser.close()


@pytest.fixture
async def site(channels, serve, proxy, modules, chromium):
    async with running(serve, proxy, modules, chromium) as found:
        yield found


@pytest.fixture
def broadcasting(monkeypatch):
    """Make orders publish their rows in what each library reads."""
    declared = [
        Broadcast(case.channel, template="shop/row.html", target="rows", library=case.library)
        for case in CASES
    ]
    monkeypatch.setitem(registry._watched, Order, declared)


@pytest.fixture
def silent(monkeypatch):
    """Let orders publish nothing."""
    monkeypatch.setitem(registry._watched, Order, [])


async def rows(page):
    script = "[...document.querySelectorAll('#rows > tr')].map((row) => row.innerText)"
    return [text.split("\t") for text in await page.evaluate(script)]


async def shows(page, *expected, case=None):
    """Wait until the page shows these rows, each once and in this order."""
    text = "\n".join("\t".join(each) for each in expected)
    script = """text => [...document.querySelectorAll('#rows > tr')]
        .map((row) => row.innerText).join("\\n") === text"""
    try:
        await page.wait_for_function(script, arg=text, timeout=PATIENCE_MS)
    except async_api.TimeoutError:
        visible = await page.evaluate("document.visibilityState")
        raise AssertionError((case, await rows(page), visible)) from None


async def all_show(pages, *expected):
    for case, page in pages:
        await shows(page, *expected, case=case)


async def open_streams(site, count):
    """Wait until so many streams are open."""

    async def wait():
        while json.loads(await sites.get(f"{site.url}/streams"))["open"] != count:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), PATIENCE_S)


async def test_a_page_follows_the_rows_of_a_model(site, broadcasting):
    first = await Order.objects.acreate(number="a", total=1)
    pages = await site.pages(CASES)

    await all_show(pages, ("a", "1"))
    second = await Order.objects.acreate(number="b", total=2)
    await all_show(pages, ("a", "1"), ("b", "2"))
    await Order.objects.aupdate(total=7)
    await all_show(pages, ("a", "7"), ("b", "7"))
    await Order.objects.abulk_create([Order(number="c"), Order(number="<d>")])
    await all_show(pages, ("a", "7"), ("b", "7"), ("c", "0"), ("<d>", "0"))
    await first.adelete()
    await Order.objects.filter(number="c").adelete()
    await all_show(pages, ("b", "7"), ("<d>", "0"))
    second.total = 8
    await second.asave()
    await all_show(pages, ("b", "8"), ("<d>", "0"))
    assert site.problems == []


@pytest.mark.parametrize("library", ["plain", "unpoly"])
async def test_a_refresh_survives_an_error_and_keeps_what_came_after_the_page_was_rendered(
    site, broadcasting, library
):
    case = Case(library)
    await Order.objects.acreate(number="a")
    page, other = await site.page(case), await site.page(case)
    rendered, released = asyncio.Event(), asyncio.Event()
    tries = []

    async def answer(route):
        tries.append(route)
        if len(tries) == 1:
            await route.fulfill(status=502)
        else:
            response = await route.fetch()
            rendered.set()
            await released.wait()
            await route.fulfill(response=response)

    await page.route("**/page?*", answer)
    await publish(case, "refresh", "rows")
    await asyncio.wait_for(rendered.wait(), PATIENCE_S)
    await Order.objects.acreate(number="b")
    await shows(other, ("a", "0"), ("b", "0"))
    await page.evaluate("1")  # it has received as much
    released.set()
    await shows(page, ("a", "0"), ("b", "0"))
    await Order.objects.acreate(number="c")
    await shows(page, ("a", "0"), ("b", "0"), ("c", "0"))


async def test_a_page_that_is_morphed_into_an_older_one_gets_what_came_since(site, broadcasting):
    page = await site.page(Case("plain"))
    await Order.objects.acreate(number="a")
    await shows(page, ("a", "0"))
    await page.evaluate("""() => {  // as it was rendered
        document.getElementById("rows").replaceChildren();
        const element = document.querySelector("eric-stream");
        element.setAttribute("src", `${element.getAttribute("src")}&morphed=1`);
    }""")
    await shows(page, ("a", "0"))
    await Order.objects.acreate(number="b")
    await shows(page, ("a", "0"), ("b", "0"))
    await open_streams(site, 1)
    assert site.problems == []


async def test_messages_wait_for_a_library_that_loads_late(site, broadcasting):
    case, context = Case("turbo", shared=True), await site.browser.new_context()
    released = asyncio.Event()

    async def hold(route):
        await released.wait()
        await route.continue_()

    await context.route("**/npm/**", hold)
    page = await context.new_page()
    page.on("pageerror", lambda error: site.problems.append((case, str(error))))
    url = f"{site.url}/page?library=turbo&channel={case.channel}&shared=1&late=1"
    await page.goto(url, wait_until="commit")
    await page.wait_for_function("Boolean(customElements.get('eric-stream'))")
    await Order.objects.acreate(number="a")
    other = await site.page(Case("plain"))
    await Order.objects.acreate(number="b")
    await shows(other, ("a", "0"), ("b", "0"))
    released.set()
    await shows(page, ("a", "0"), ("b", "0"))
    assert site.problems == []


async def test_an_element_imports_no_file_of_another_origin(site):
    page = await site.page(Case("plain"))
    imported = []
    await page.route("https://attacker.example/**", lambda route: imported.append(route))
    await page.evaluate("""() => {
        const element = document.createElement("eric-stream");
        element.setAttribute("client", "https://attacker.example/x.js");
        element.setAttribute("src", "/events/");
        document.body.append(element);
    }""")
    await sites.until(lambda: site.problems, PATIENCE_S)
    assert imported == []
    assert "another origin" in site.problems[0][1]


async def publish(case, action, target, number=None, key=None):
    order = Order(pk=key or 900 + len(number or ""), number=number)
    template = None if number is None else "shop/row.html"
    options = {"target": target, "action": action, "library": case.library}
    await abroadcast_template(case.channel, template, {"order": order}, **options)


@sync_to_async
def refresh_together(case, count):
    with transaction.atomic():
        for _ in range(count):
            options = {"target": "rows", "action": "refresh", "library": case.library}
            broadcast_template(case.channel, **options)


async def test_each_action_changes_the_page_and_a_refresh_shows_what_the_server_has(site, silent):
    a, b, c = [await Order.objects.acreate(number=name) for name in "abc"]

    for case in CASES:
        page = await site.page(case)
        send = partial(publish, case)
        await send("append", "rows", "last")
        await send("prepend", "#rows", "first1")
        await send("before", f"order-{b.pk}", "before b")
        await send("after", f"order-{b.pk}", "after2b")
        await send("replace", f"order-{a.pk}", "new")
        await send("remove", f"order-{c.pk}")
        names = ["first1", "new", "before b", "b", "after2b", "last"]
        await shows(page, *[(name, "0") for name in names], case=case)
        await send("append", "rows", "odd", key="9:a.b#c")
        await send("replace", "order-9:a.b#c", "even", key="7,'")
        await shows(page, *[(name, "0") for name in [*names, "even"]], case=case)
        await send("remove", "order-7,'")
        await shows(page, *[(name, "0") for name in names], case=case)
        await send("update", "rows", "only")
        await shows(page, ("only", "0"), case=case)
        fetched = []
        page.on("request", lambda request, fetched=fetched: fetched.append(request.url))
        await refresh_together(case, 5)
        await shows(page, *[(name, "0") for name in "abc"], case=case)
        if case.library in ("unpoly", "alpine", "plain"):  # the others do it in their own way
            assert len([url for url in fetched if "/page" in url]) == 1
    assert site.problems == []


async def test_nothing_is_lost_or_repeated_by_hiding_a_deploy_cut_links_and_sleep(
    site, broadcasting
):
    pages = await site.pages(STREAMS)
    await hide(site, pages)
    assert site.problems == []
    for _, page in pages:
        await page.evaluate(COUNT)
    created = []

    async def create():
        created.append(f"n{len(created)}")
        await Order.objects.acreate(number=created[-1])

    await create()
    await deploy(site, pages, create)
    for _ in range(3):
        await cut(site, create)
    await sleep(site, create)
    await create()
    await all_show(pages, *[(name, "0") for name in created[1:]])
    for case, page in pages:
        assert await page.evaluate("added") == created, case


async def hide(site, pages):
    """Hide the pages: htmx 4 and Datastar close their streams, the others continue."""
    first = await Order.objects.acreate(number="a")
    await all_show(pages, ("a", "0"))
    for _, page in pages:
        await page.evaluate(SHOW, "hidden")
    closing = {Case("htmx4"), Case("datastar")}
    await open_streams(site, len(pages) - len(closing))
    await Order.objects.acreate(number="b")
    await first.adelete()
    await Order.objects.aupdate(total=3)
    for _, page in pages:
        await page.evaluate(SHOW, "visible")
    await all_show(pages, ("b", "3"))
    await open_streams(site, len(pages))
    await Order.objects.all().adelete()
    await all_show(pages)


async def deploy(site, pages, create):
    """Replace the server, during which nginx answers 502; meanwhile a row is deleted."""
    await all_show(pages, ("n0", "0"))
    site.server.terminate()
    site.server.wait()
    await sites.until(lambda: site.statuses.count(502) >= len(pages), PATIENCE_S)
    await create()
    await Order.objects.filter(number="n0").adelete()
    site.server.start()
    await create()
    await all_show(pages, ("n1", "0"), ("n2", "0"))


async def cut(site, create):
    await create()
    site.link.cut()
    await create()
    site.link.repair()


async def sleep(site, create):
    """Cut the link while the browser's machine sleeps."""
    asleep = [each for each in psutil.Process().children(True) if "chrom" in each.name()]
    assert asleep
    try:
        for process in asleep:
            process.suspend()
        await cut(site, create)
        await asyncio.sleep(2)
    finally:
        for process in asleep:
            process.resume()


async def test_pages_that_the_browser_kept_and_ten_tabs_show_what_happened(site, broadcasting):
    first = await Order.objects.acreate(number="a")
    pages = await site.pages(OWN)
    await all_show(pages, ("a", "0"))
    for _, page in pages:
        await page.goto(f"{site.url}/elsewhere")
    await first.adelete()
    await Order.objects.acreate(number="b")
    for _, page in pages:
        await page.evaluate("void setTimeout(() => history.back())")
        await page.wait_for_function("window.isRestored === true")
    await all_show(pages, ("b", "0"))
    await have_one_connection(site)
    names = ["b", *(f"n{number}" for number in range(10))]
    await all_show(pages, *[(name, "0") for name in names])
    assert site.problems == []


async def have_one_connection(site):
    """Open ten tabs of one browser; each shows what the others have."""
    context = await site.browser.new_context()
    tabs = []
    for number in range(10):
        tabs.append((Case("plain"), await site.page(Case("plain"), context)))
        await Order.objects.acreate(number=f"n{number}")
    await all_show(tabs, ("b", "0"), *[(f"n{number}", "0") for number in range(10)])
    await open_streams(site, len(OWN) + 1)


async def test_an_expired_ticket_is_replaced_by_that_of_the_page(
    channels, serve, proxy, modules, chromium, broadcasting
):
    async with running(serve, proxy, modules, chromium, TICKET_MAX_AGE_S=3) as site:
        pages = await site.pages(OWN)
        await sites.until(lambda: site.statuses.count(403) >= len(pages), 20)
        await Order.objects.acreate(number="a")
        await all_show(pages, ("a", "0"))


# What a browser does when its user chooses another tab: all pages of a test are visible.
SHOW = """(state) => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
  Object.defineProperty(document, "hidden", { configurable: true, get: () => state === "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
# Records what is put in the table from now on.
COUNT = """() => {
  window.added = [];
  const note = (row) => row.nodeName === "TR" && added.push(row.cells[0].innerText);
  new MutationObserver((changes) => {
    for (const change of changes) change.addedNodes.forEach(note);
  }).observe(document.getElementById("rows"), { childList: true });
}"""
