"""Screenshots of the demo's pages, as a visitor sees them after a minute."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from docs.screenshots.animation import demo

SIZE: Any = {"width": 1280, "height": 860}
# Seconds of load in the charts of the first page.
WATCHED_S = 45.0
# Milliseconds after which a page sends again that its visitor is typing.
TYPING_MS = 1_600
COMMAND = """python manage.py eric_publish inbox note '{"text": "Hello from a shell"}'"""


def create(browser: Browser, save: Callable[[Page, str], None], watch_s: float) -> None:
    """Start the demo with a separate database, and take a screenshot of each of its pages."""
    with tempfile.TemporaryDirectory() as directory, demo(Path(directory)) as url:
        first, other = _visitor(browser, url), _visitor(browser, url)
        _talk(first, other, f"{url}chat/")
        save(other, "demo_chat")
        _orders(first, f"{url}orders/")
        save(first, "demo_table")
        _ask(other, f"{url}runs/")
        save(other, "demo_runs")
        _write(first, url)
        first.wait_for_timeout(min(WATCHED_S, watch_s) * 1_000)
        save(first, "demo")


def _visitor(browser: Browser, url: str) -> Page:
    page = browser.new_context(color_scheme="light", viewport=SIZE).new_page()
    page.goto(url)
    page.locator("#inbox-state").get_by_text("live").wait_for()
    return page


def _talk(first: Page, other: Page, url: str) -> None:
    for page in (first, other):
        page.goto(url)
        page.locator("#state").get_by_text("live").wait_for()
    lines = ("Who takes table 4?", "I do. Two coffees?", "And a tea.", "On my way.")
    for page, text in zip((first, other, first, other), lines, strict=True):
        page.fill("#text", text)
        page.press("#text", "Enter")
        for each in (first, other):
            each.locator("#lines").get_by_text(text).wait_for()
    other.locator("#online li").nth(1).wait_for()
    first.wait_for_timeout(TYPING_MS)
    first.locator("#text").press_sequentially("Sugar is")
    other.locator("#typing").get_by_text("typing").wait_for()


def _orders(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_text("live", exact=True).wait_for()
    for number in range(3):
        page.get_by_role("button", name="New order").click()
        page.locator("tbody tr").nth(3 + number).wait_for()
    page.get_by_role("button", name="Pay").first.click()
    page.get_by_text("paid", exact=True).first.wait_for()


def _ask(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="What happens if Redis is down?").click()
    page.get_by_role("button", name="Start an export").click()
    page.locator("#answers li").first.wait_for()
    page.wait_for_timeout(4_000)


def _write(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("#inbox-state").get_by_text("live").wait_for()
    # Without the paths of this machine.
    page.locator("#command").evaluate("(code, text) => { code.textContent = text }", COMMAND)
    for text in ("Order 7 is paid", "Order 8 is paid", "Order 7 is shipped"):
        page.fill("#broadcast-text", text)
        page.press("#broadcast-text", "Enter")
        page.locator("section.inbox").get_by_text(text).wait_for()
