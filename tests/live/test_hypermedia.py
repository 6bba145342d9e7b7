"""Pages of htmx, Turbo, Unpoly and Alpine AJAX in Chromium, with their files from npm."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

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

# (library, whether its stream is a listener's, whether it is that of <eric-stream>)
OWN = [("htmx2", True, False), ("htmx4", False, False), ("turbo", False, False)]
OURS = [("htmx2", False, True), ("htmx4", False, True), ("turbo", False, True)]
OURS += [(name, False, False) for name in ("unpoly", "alpine", "plain")]

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
def channel(database):
    if databases.USERS is not None:
        pytest.skip("the models are in another database than the log")
    return DatabaseChannel.create("orders", format="text")


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

    async def page(self, library, listener, shared):
        page = await self.browser.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on(
            "console",
            lambda line: line.type == "error" and self.problems.append(line.text),
        )
        query = f"library={library}{'&source=listener' if listener else ''}"
        await page.goto(f"{self.server.url}/page?{query}{'&shared=1' if shared else ''}")
        return page


@pytest.fixture
async def site(channel, serve, modules, chromium):
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found = Site(serve, modules, browser)
        yield found
        await browser.close()


@pytest.fixture
def broadcasting(monkeypatch):
    """Return a function that makes orders publish rows in what a library reads."""

    def broadcast(library):
        declared = Broadcast("orders", template="shop/row.html", target="rows", library=library)
        monkeypatch.setitem(registry._watched, Order, [declared])

    return broadcast


async def rows(page):
    script = "[...document.querySelectorAll('#rows > tr')].map((row) => row.innerText)"
    return [text.split("\t") for text in await page.evaluate(script)]


async def shows(page, *expected):
    """Wait until the page shows these rows, each once and in this order."""
    text = "\n".join("\t".join(each) for each in expected)
    script = """text => [...document.querySelectorAll('#rows > tr')]
        .map((row) => row.innerText).join("\\n") === text"""
    try:
        await page.wait_for_function(script, arg=text, timeout=TIMEOUT_MS)
    except async_api.TimeoutError:
        raise AssertionError((await rows(page), await page.content())) from None


@pytest.mark.parametrize(("library", "listener", "shared"), OWN + OURS)
async def test_a_page_follows_the_rows_of_a_model(site, broadcasting, library, listener, shared):
    broadcasting(library)
    first = await Order.objects.acreate(number="a", total=1)
    page = await site.page(library, listener, shared)
    await shows(page, ("a", "1"))
    second = await Order.objects.acreate(number="b", total=2)
    await shows(page, ("a", "1"), ("b", "2"))
    await Order.objects.aupdate(total=7)
    await shows(page, ("a", "7"), ("b", "7"))
    await Order.objects.abulk_create([Order(number="c"), Order(number="<d>")])
    await shows(page, ("a", "7"), ("b", "7"), ("c", "0"), ("<d>", "0"))
    await first.adelete()
    await Order.objects.filter(number="c").adelete()
    await shows(page, ("b", "7"), ("<d>", "0"))
    second.total = 8
    await second.asave()
    await shows(page, ("b", "8"), ("<d>", "0"))
    assert site.problems == []


@pytest.mark.parametrize(("library", "listener", "shared"), OWN + OURS)
async def test_each_action_changes_the_page(site, library, listener, shared):
    with registry_without(Order):
        a, b, c = [await Order.objects.acreate(number=name) for name in "abc"]
    page = await site.page(library, listener, shared)
    await shows(page, ("a", "0"), ("b", "0"), ("c", "0"))

    async def send(action, target, number=None):
        order = Order(pk=900 + len(number or ""), number=number)
        template = None if number is None else "shop/row.html"
        options = {"target": target, "action": action, "library": library}
        await abroadcast_template("orders", template, {"order": order}, **options)

    await send("append", "rows", "last")
    await send("prepend", "#rows", "first1")
    await send("before", f"order-{b.pk}", "before b")
    await send("after", f"order-{b.pk}", "after2b")
    await send("replace", f"order-{a.pk}", "new")
    await send("remove", f"order-{c.pk}")
    names = ["first1", "new", "before b", "b", "after2b", "last"]
    await shows(page, *[(name, "0") for name in names])
    await send("update", "rows", "only")
    await shows(page, ("only", "0"))
    assert site.problems == []


@pytest.mark.parametrize(("library", "listener", "shared"), OWN + OURS)
async def test_a_refresh_shows_what_the_server_has(site, library, listener, shared):
    page = await site.page(library, listener, shared)
    await shows(page)
    with registry_without(Order):
        await Order.objects.acreate(number="a")
    for _ in range(5):
        await abroadcast_template("orders", target="rows", action="refresh", library=library)
    await shows(page, ("a", "0"))
    assert int(await page.inner_text("#rendered")) in (1, 2)
    assert site.problems == []


@pytest.mark.parametrize(("library", "listener", "shared"), [OWN[0], OWN[1], *OURS])
async def test_nothing_is_lost_or_repeated_when_the_server_is_restarted(
    site, broadcasting, library, listener, shared
):
    broadcasting(library)
    page = await site.page(library, listener, shared)
    first = await Order.objects.acreate(number="a")
    await shows(page, ("a", "0"))
    port = site.server.port
    site.server.kill()
    await Order.objects.acreate(number="b")
    await first.adelete()
    await page.evaluate(COUNT)
    site.server = site.start(port)
    await shows(page, ("b", "0"))
    await Order.objects.acreate(number="c")
    await shows(page, ("b", "0"), ("c", "0"))
    # Neither "a" nor "b" were put in the page a second time.
    assert await page.evaluate("added") == ["b", "c"]


# Records what is put in the table from now on.
COUNT = """() => {
  window.added = [];
  const note = (row) => row.nodeName === "TR" && added.push(row.cells[0].innerText);
  new MutationObserver((changes) => {
    for (const change of changes) change.addedNodes.forEach(note);
  }).observe(document.getElementById("rows"), { childList: true });
}"""


@contextmanager
def registry_without(model):
    """Let a model publish nothing."""
    known = registry._watched.pop(model)
    try:
        yield
    finally:
        registry._watched[model] = known
