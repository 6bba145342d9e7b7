"""Every command and every file of docs/tutorial.md, in their order, from an empty folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.live.asgi_servers import ROOT
from tests.live.quick_start import BLOCK, PASSWORD, Project
from tests.patience import PATIENCE_MS, PATIENCE_S
from tests.server import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api").expect

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
COMMAND = re.compile(r"^    (\S.*)$", re.MULTILINE)
# tests/live/test_wheel.py installs the package with pip into a new environment.
INSTALLING = ["python3 -m venv .venv", ". .venv/bin/activate", "pip install eric-sse-django"]
SERVER = "python manage.py runserver"


def steps() -> Iterator[tuple[str, ...]]:
    """Yield the files and the commands of the page as the reader gets to them."""
    found = [(block.start(), block.groups()) for block in BLOCK.finditer(PAGE)]
    fences = [match.span() for match in re.finditer(r"^```.*?^```", PAGE, re.M | re.S)]
    for match in COMMAND.finditer(PAGE):
        if not any(begin < match.start() < end for begin, end in fences):
            found.append((match.start(), (match[1],)))
    yield from (step for _, step in sorted(found))


STEPS = list(steps())


class Reader:
    """Does the steps of the page, one after the other, in an empty folder."""

    def __init__(self, project: Project, stack: ExitStack) -> None:
        self.project = project
        self.stack = stack
        self.url = ""
        self.rest = list(STEPS)

    def until(self, beginning: str) -> str:
        """Do all steps up to the one with this beginning; return what its command printed."""
        while True:
            step = self.rest.pop(0)
            output = self._do(step)
            if step[0].startswith(beginning):
                return output

    def _do(self, step: tuple[str, ...]) -> str:
        if len(step) > 1:
            self.project.write(*step)
            return ""
        [line] = step
        if line == SERVER:
            self.url = self.stack.enter_context(self.project.serve(f"{line} {{port}}"))
        elif "createsuperuser" in line:
            answers = ("Password:", PASSWORD), ("Password (again):", PASSWORD), ("created", "")
            self.project.converse(line, *answers)
        elif line not in INSTALLING:
            return self.project.run(line)
        return ""


@pytest.fixture
def reader(tmp_path) -> Iterator[Reader]:
    with ExitStack() as stack:
        yield Reader(Project(tmp_path), stack)


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


def logged_in(browser: Browser, url: str, name: str) -> Page:
    """Return the chat's page in a new session of a user, with its stream open."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    with page.expect_response(lambda response: "/events/" in response.url) as answer:
        page.click("[type=submit]")
    assert answer.value.status == 200
    return page


def lines_are(page: Page, *lines: str) -> None:
    expect(page.locator("#lines li")).to_have_text(list(lines))


def send(page: Page, text: str) -> None:
    page.fill("[name=text]", text)
    page.press("[name=text]", "Enter")


def test_every_block_of_the_page_is_a_file():
    assert len([step for step in STEPS if len(step) > 1]) == PAGE.count("\n```") // 2
    assert [line for [line] in STEPS[:3]] == INSTALLING


def test_the_chat_has_history_presence_and_a_test(reader, browser):
    reader.until(SERVER)
    ada, bob = (logged_in(browser, reader.url, name) for name in ("ada", "bob"))
    send(ada, "Hello <b>Bob</b>")
    lines_are(bob, "ada: Hello <b>Bob</b>")
    send(bob, "Hello Ada")
    lines_are(ada, "ada: Hello <b>Bob</b>", "bob: Hello Ada")

    bob.reload()
    lines_are(bob, "ada: Hello <b>Bob</b>", "bob: Hello Ada")
    reader.until("python manage.py shell")
    lines_are(bob, "ada: Hello <b>Bob</b>", "bob: Hello Ada", "robot: Lunch!")

    while len(reader.rest[0]) > 1 and reader.rest[0][0] != "chat/tests.py":
        reader.until(reader.rest[0][0])
    until(lambda: _status(f"{reader.url}/online/") == 302, PATIENCE_S)  # runserver restarts
    for _ in range(2):  # the second time they are online before, and no signal follows
        for page in (ada, bob):
            page.reload()
        for page in (ada, bob):
            expect(page.locator("#online")).to_have_text("Online: ada, bob")

    assert "Ran 3 tests" in reader.until("python manage.py test")
    assert reader.rest == []


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=PATIENCE_S).status_code
    except httpx.HTTPError:
        return 0
