"""Pages of htmx, Turbo, Unpoly and Alpine AJAX in Chromium, with their files from npm."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from eric_sse_django.broadcasts import Broadcast, registry
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hypermedia import abroadcast_template
from tests import databases
from tests.conftest import missing
from tests.shop.models import Order

async_api = pytest.importorskip("playwright.async_api")

NPM = Path(__file__).parent / "npm"
SITE = "tests.live.hyper_asgi:application"
TIMEOUT_MS = 15_000
INSTALL_S = 120


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
CASES += [Case(name) for name in ("unpoly", "alpine", "plain")]
# The element of Turbo closes permanently after an error.
RECONNECTING = [case for case in CASES if case != Case("turbo")]

pytestmark = databases.sqlite_only


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Return the folder node_modules with the libraries of the lock file."""
    if shutil.which("npm") is None:
        missing("npm is not installed (on Debian: apt-get install npm)")
    at = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NPM / name, at)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=at, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode:
        missing(f"npm could not install the libraries: {done.stderr[-300:]}")
    return at / "node_modules"


@pytest.fixture
def channels(database):
    if databases.USERS is not None:
        pytest.skip("the models are in another database than the log")
    return [DatabaseChannel.create(case.channel, format="text") for case in CASES]


class Site:
    """A running site, and a browser with pages of it."""

    def __init__(self, serve, modules, browser):
        self.start = lambda port=None: serve(
            "daphne",
            application=SITE,
            port=port,
            environment={"ERIC_SSE_TEST_NODE_MODULES": str(modules)},
            settings={"RETRY_MS": 200},
        )
        self.server = self.start()
        self.browser = browser
        self.problems = []

    async def page(self, case):
        # A browser has six connections to a site, and each context its own.
        context = await self.browser.new_context()
        page = await context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: self.problems.append((case, str(error))))
        page.on("console", lambda line: self.note(case, line))
        query = f"library={case.library}&channel={case.channel}"
        query += "&source=listener" if case.listener else ""
        await page.goto(f"{self.server.url}/page?{query}{'&shared=1' if case.shared else ''}")
        return page

    def note(self, case, line):
        if line.type == "error":
            self.problems.append((case, line.text))


@pytest.fixture
async def site(channels, serve, modules, chromium):
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found = Site(serve, modules, browser)
        yield found
        await browser.close()


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
    await page.bring_to_front()  # htmx 4 closes the stream of a page that is hidden
    try:
        await page.wait_for_function(script, arg=text, timeout=TIMEOUT_MS)
    except async_api.TimeoutError:
        visible = await page.evaluate("document.visibilityState")
        raise AssertionError((case, await rows(page), visible)) from None


async def test_a_page_follows_the_rows_of_a_model(site, broadcasting):
    first = await Order.objects.acreate(number="a", total=1)
    pages = [(case, await site.page(case)) for case in CASES]

    async def all_show(*expected):
        for case, page in pages:
            await shows(page, *expected, case=case)

    await all_show(("a", "1"))
    second = await Order.objects.acreate(number="b", total=2)
    await all_show(("a", "1"), ("b", "2"))
    await Order.objects.aupdate(total=7)
    await all_show(("a", "7"), ("b", "7"))
    await Order.objects.abulk_create([Order(number="c"), Order(number="<d>")])
    await all_show(("a", "7"), ("b", "7"), ("c", "0"), ("<d>", "0"))
    await first.adelete()
    await Order.objects.filter(number="c").adelete()
    await all_show(("b", "7"), ("<d>", "0"))
    second.total = 8
    await second.asave()
    await all_show(("b", "8"), ("<d>", "0"))
    assert site.problems == []


async def publish(case, action, target, number=None):
    order = Order(pk=900 + len(number or ""), number=number)
    template = None if number is None else "shop/row.html"
    options = {"target": target, "action": action, "library": case.library}
    await abroadcast_template(case.channel, template, {"order": order}, **options)


async def test_each_action_changes_the_page(site, silent):
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
        await send("update", "rows", "only")
        await shows(page, ("only", "0"), case=case)
    assert site.problems == []


async def test_a_refresh_shows_what_the_server_has(site, silent):
    pages = [(case, await site.page(case)) for case in CASES]
    await Order.objects.acreate(number="a")
    for case, page in pages:
        await shows(page)
        for _ in range(5):
            await abroadcast_template(
                case.channel, target="rows", action="refresh", library=case.library
            )
    for case, page in pages:
        await shows(page, ("a", "0"), case=case)
    assert site.problems == []


async def test_nothing_is_lost_or_repeated_when_the_server_is_restarted(site, broadcasting):
    first = await Order.objects.acreate(number="a")
    pages = [(case, await site.page(case)) for case in RECONNECTING]
    second = await Order.objects.acreate(number="b")
    for case, page in pages:
        await shows(page, ("a", "0"), ("b", "0"), case=case)
    port = site.server.port
    site.server.kill()
    await Order.objects.acreate(number="c")
    await first.adelete()
    for _, page in pages:
        await page.evaluate(COUNT)
    site.server = site.start(port)
    for case, page in pages:
        await shows(page, ("b", "0"), ("c", "0"), case=case)
    await second.adelete()
    await Order.objects.acreate(number="d")
    for case, page in pages:
        await shows(page, ("c", "0"), ("d", "0"), case=case)
        # Neither "a" nor "b" were put in the page a second time.
        assert await page.evaluate("added") == ["c", "d"], case


# Records what is put in the table from now on.
COUNT = """() => {
  window.added = [];
  const note = (row) => row.nodeName === "TR" && added.push(row.cells[0].innerText);
  new MutationObserver((changes) => {
    for (const change of changes) change.addedNodes.forEach(note);
  }).observe(document.getElementById("rows"), { childList: true });
}"""
