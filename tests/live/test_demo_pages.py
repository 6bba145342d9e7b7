"""The demo's page for each idea in Chromium: two tabs, history, keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.test_demo import ROOT, Demo, running_browser
from tests.patience import PATIENCE_MS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

expect = pytest.importorskip("playwright.sync_api").expect

__all__ = ["running_browser"]
PAGES = ROOT / "demo_project" / "pages"
IDEAS = ("inbox", "chat", "dashboard", "orders", "notifications")


class Visitor:
    """A browser session on the demo; `problems` are the errors in its console."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.url = url
        self.problems: list[str] = []

    def tab(self, idea: str) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda found: self._note(found.type, found.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(f"{self.url}{idea}/" if idea else self.url)
        live = page.locator("span#state, #inbox-state, #worker-state")
        expect(live).to_have_text(re.compile(r"^live$|^process \d+$"))
        return page

    def _note(self, kind: str, text: str) -> None:
        # A page that is left cuts its stream.
        if kind in ("error", "warning") and "ERR_INCOMPLETE" not in text:
            self.problems.append(text)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    demo.start()
    yield demo
    demo.kill()


@pytest.fixture
def visitor(demo: Demo, running_browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Return a function that returns a new visitor, none of which may have a problem."""
    visitors: list[Visitor] = []

    def visit(**options: Any) -> Visitor:
        visitors.append(Visitor(running_browser, demo.url, **options))
        return visitors[-1]

    yield visit
    for each in visitors:
        each.context.close()
    assert [each.problems for each in visitors] == [[] for _ in visitors]


def send(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")
    expect(page.locator("#text")).not_to_have_value(text)


def entries(page: Page) -> Locator:
    return page.locator(".entries li")


def test_two_tabs_of_the_inbox_agree_and_what_came_while_it_was_closed_is_marked(demo, visitor):
    ann = visitor()
    first, second = ann.tab("inbox"), ann.tab("inbox")
    send(first, "one")
    send(second, "<b>two</b>")
    for page in (first, second):
        expect(entries(page)).to_have_text(["one", "<b>two</b>"])
    first.close()
    second.goto("about:blank")
    sender = ann.context.request
    form = second.context.new_page()
    form.goto(f"{demo.url}chat/")  # for its token
    token = form.locator("[name=csrfmiddlewaretoken]").first.input_value()
    answer = sender.post(
        f"{demo.url}inbox/send/", form={"text": "three", "csrfmiddlewaretoken": token}
    )
    assert answer.status == 204
    page = ann.tab("inbox")
    expect(entries(page)).to_have_text(["one", "<b>two</b>", "three while you were offline"])


def test_each_page_has_one_stream_which_two_tabs_share(visitor):
    for idea in ("", *IDEAS, "runs"):
        ann = visitor()
        streams: list[str] = []
        ann.context.on("request", lambda request, to=streams: to.append(request.url))
        tabs = [ann.tab(idea), ann.tab(idea)]
        opened = [url for url in streams if "/events/" in url]
        # What is unread is a matter of each tab.
        assert len(opened) == (2 if idea == "notifications" else 1), (idea, opened)
        for tab in tabs:
            tab.close()


def test_lines_of_the_chat_are_kept_and_typing_is_not(visitor):
    ann, bob = visitor().tab("chat"), visitor().tab("chat")
    names = [page.locator("#me").inner_text() for page in (ann, bob)]
    for page in (ann, bob):
        for name in names:
            expect(page.locator("#online li", has_text=name)).to_have_count(1)
    ann.locator("#text").press_sequentially("hi")
    expect(bob.locator("#typing")).to_have_text(f"{names[0]} typing …")
    expect(bob.locator("#typing")).to_have_text("")  # ann has not sent that it is over
    send(ann, "hi bob")
    expect(entries(bob).last).to_have_text(f"{names[0]} hi bob")
    bob.reload()
    expect(entries(bob).last).to_have_text(f"{names[0]} hi bob")
    expect(bob.locator("#online li")).to_have_count(2)


def rows(page: Page) -> list[str]:
    return page.locator("#orders tr").all_inner_texts()


def test_the_table_shows_each_change_of_the_model_in_all_windows(visitor):
    """By the keyboard alone."""
    ann, bob = visitor().tab("orders"), visitor().tab("orders")

    def press(name: str) -> None:
        for _ in range(40):
            ann.keyboard.press("Tab")
            if (ann.evaluate("document.activeElement.innerText") or "").startswith(name):
                break
        else:
            raise AssertionError(f"no {name!r} by Tab")
        ann.keyboard.press("Enter")

    count = len(rows(bob))
    press("New order")
    expect(bob.locator("#orders tr")).to_have_count(count + 1)
    first = bob.locator("#orders tr").first
    total = int(first.locator("td").first.inner_text().split()[0])
    press("Raise")  # update() of all
    expect(first.locator("td").first).to_have_text(f"{total + 5} €")
    press("Pay")
    expect(bob.locator(".paid")).to_have_count(1)
    expect(ann.locator(".paid")).to_have_count(1)
    ann.reload()
    assert rows(ann) == rows(bob)
    press("Remove")  # delete() of some
    for page in (ann, bob):
        expect(page.locator("#orders tr")).to_have_count(count)
    assert rows(ann) == rows(bob)


def test_notifications_are_unread_until_one_tab_has_read_them(visitor):
    ann = visitor()
    first, second = ann.tab("notifications"), ann.tab("notifications")
    for text in ("a", "b"):
        send(first, text)
    for page in (first, second):
        expect(page.locator("#notices li:not(.read)")).to_have_text(["a", "b"])
        expect(page.locator("#unread")).to_have_text("2")
    first.reload()
    expect(first.locator("#unread")).to_have_text("2")
    second.click("#read")
    for page in (first, second):
        expect(page.locator("#unread")).to_have_text("0")
    first.reload()
    send(second, "c")
    expect(first.locator("#notices li")).to_have_text(["c"])
    expect(first.locator("#unread")).to_have_text("1")


def test_a_toast_goes_away_by_itself(visitor):
    page = visitor().tab("notifications")
    page.click("button[name=toast]")
    expect(page.locator("#toasts p")).to_have_text("Saved.")
    expect(page.locator("#toasts p")).to_have_count(0)


def test_the_dashboard_has_its_history_after_a_reload(visitor):
    page = visitor().tab("dashboard")
    points = "() => document.querySelector('#percent .line')?.getAttribute('d').split('L').length"
    page.wait_for_function(f"({points})() > 3")
    page.reload()
    assert page.evaluate(points) is None or page.evaluate(points) > 2
    page.wait_for_function(f"({points})() > 3")


def sources(page: Page) -> Iterator[tuple[str, str]]:
    for each in page.locator(".source details").all():
        yield each.locator("summary").inner_text(), each.locator("pre").text_content() or ""


def test_the_source_beside_a_page_is_what_runs(visitor):
    files = {path.name: path for path in PAGES.rglob("*.*")}
    ann = visitor()
    for idea in IDEAS:
        page = ann.tab(idea)
        found = dict(sources(page))
        assert f"{idea}.py" in found
        for name, text in found.items():
            assert text == files[name].read_text().strip()
        page.close()
