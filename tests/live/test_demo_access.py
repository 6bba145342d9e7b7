"""All pages of the demo by keyboard and screen reader, in each scheme and size, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests import npm
from tests.live.test_demo import running_browser
from tests.live.test_demo_pages import Visitor, demo, entries, rows, send, visitor
from tests.patience import PATIENCE_MS

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect

__all__ = ["demo", "running_browser", "visitor"]
Visit = Callable[..., Visitor]
PAGES = ("", "inbox", "chat", "dashboard", "orders", "notifications", "runs")
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LOOKS: list[Any] = [(WIDE, "light"), (NARROW, "dark"), (NARROW, "light"), (WIDE, "dark")]
QUESTION = "How do I deploy behind nginx?"

# What a screen reader has, of each page: its title, and what is in its <main>.
TOP = """
- banner:
  - link "Skip to the content"
  - heading "eric_sse_django" [level=1]
  - navigation "Site":
    - link "Start"
    - link "Runs"
    - link "Admin"
- navigation "Ideas":
  - link "Inbox"
  - link "Chat"
  - link "Dashboard"
  - link "Table"
  - link "Notifications"
"""
SOURCE = """
  - region "The source of this page":
    - heading "The source of this page" [level=2]
    - group:
      - region /\\.py$/
"""
TREES = {
    "": (
        "Start",
        """
- main:
  - region "This machine, live":
    - heading "This machine, live" [level=2]
    - status: live
    - slider /CPU and memory in percent/
    - slider /Bytes received and sent/
  - region "Your inbox":
    - heading "Your inbox" [level=2]
    - status: live
    - switch "Online" [checked]
    - log "Messages, oldest first"
  - region "Send":
    - heading "Send" [level=2]
    - combobox "To one listener"
    - textbox "Message to one listener"
    - button "Dispatch"
    - textbox "To everyone"
    - button "Broadcast"
  - region "Listeners and their queues":
    - heading "Listeners and their queues" [level=2]
    - region "Listeners":
      - table
- contentinfo:
  - button "Copy"
""",
    ),
    "inbox": (
        "Inbox",
        """
- main:
  - region "Your inbox":
    - heading "Your inbox" [level=2]
    - status: live
    - log "Messages, oldest first"
    - textbox "A message to yourself"
    - button "Send"
"""
        + SOURCE,
    ),
    "chat": (
        "Chat",
        """
- main:
  - region "Chat":
    - heading "Chat" [level=2]
    - status: live
    - list "Online"
    - log "Lines, oldest first":
      - list:
        - listitem: /^ada Open this page/
    - textbox "Your line"
    - button "Send"
"""
        + SOURCE,
    ),
    "dashboard": (
        "Dashboard",
        """
- main:
  - region "This machine":
    - heading "This machine" [level=2]
    - status: live
    - term: CPU
    - definition: /%$/
    - slider /CPU and memory in percent/
    - term: Received
    - definition: /B\\/s$/
    - slider /Bytes received and sent/
"""
        + SOURCE,
    ),
    "orders": (
        "Table",
        """
- main:
  - region "Orders":
    - heading "Orders" [level=2]
    - status: live
    - button "New order"
    - button "Raise the open ones by 5 €"
    - button "Remove the paid ones"
    - region "Rows":
      - table:
        - rowgroup:
          - row:
            - columnheader "Item"
            - columnheader "Total"
            - columnheader "State"
        - rowgroup:
          - row:
            - rowheader /#\\d+$/
            - cell /€$/
            - cell:
              - button /^Pay order \\d+$/
"""
        + SOURCE,
    ),
    "notifications": (
        "Notifications",
        """
- main:
  - region "Notifications":
    - heading "Notifications" [level=2]
    - status: live
    - status: 0 unread
    - button "Mark as read"
    - log "Notifications"
    - textbox "To everyone"
    - button "Notify"
    - button "Toast"
"""
        + SOURCE,
    ),
    "runs": (
        "Runs",
        """
- main:
  - region "Ask the documentation":
    - heading "Ask the documentation" [level=2]
    - link "Second tab"
    - log "Questions and answers"
    - textbox "Question"
    - button "Ask"
  - region "The worker":
    - heading "The worker" [level=2]
    - status: /^process/
    - button "Kill the worker"
    - log "What happened to the worker"
  - region "Export the log":
    - heading "Export the log" [level=2]
    - status: no export yet
    - progressbar "Export the log"
    - button "Start an export"
""",
    ),
}


def test_a_screen_reader_has_titles_landmarks_headings_and_labels(visitor: Visit) -> None:
    assert tuple(TREES) == PAGES
    ann = visitor()
    for name, (title, main) in TREES.items():
        page = ann.tab(name)
        assert page.title() == f"{title}: eric_sse_django"
        assert page.locator("html").get_attribute("lang") == "en"
        expect(page.locator("body")).to_match_aria_snapshot(TOP + main.lstrip("\n"))
        here = "runs" if name == "runs" else name
        current = page.locator("nav [aria-current=page]")
        expect(current).to_have_count(1)
        assert current.get_attribute("href") == (f"/{here}/" if here else "/")
        page.close()


# The keyboard ---------------------------------------------------------------------------

# The elements that Tab has to reach, in this order; and what is wrong with the focus of one.
STOPS = """() => {
    const all = document.querySelectorAll("a[href], button, input, select, summary, [tabindex]");
    window.stops = [...all].filter((each) => each.tabIndex >= 0 && each.type !== "hidden"
        && each.checkVisibility());
    return stops.map(({ id, innerText, ariaLabel }) => id || ariaLabel || innerText);
}"""
FOCUS = """() => {
    const element = document.activeElement;
    const { outlineStyle, outlineWidth, outlineOffset } = getComputedStyle(element);
    const width = parseFloat(outlineWidth);
    const problems = [];
    if (outlineStyle === "none" || width < 2) problems.push("no outline");
    const grow = width + parseFloat(outlineOffset);
    const box = element.getBoundingClientRect();
    if (box.bottom <= 0 || box.top >= innerHeight) problems.push("not in view");
    for (let each = element.parentElement; each; each = each.parentElement) {
        if (getComputedStyle(each).overflowX === "visible") continue;
        const clip = each.getBoundingClientRect();
        const cut = [
            box.left - grow < clip.left - 0.5, box.right + grow > clip.right + 0.5,
            box.top - grow < clip.top - 0.5, box.bottom + grow > clip.bottom + 0.5,
        ];
        if (cut.filter(Boolean).length > 1) problems.push(`cut off by ${each.className}`);
    }
    return [stops.indexOf(element), problems];
}"""


@pytest.mark.parametrize(("size", "scheme"), LOOKS[:2])
def test_tab_reaches_everything_in_order_with_a_visible_focus(
    visitor: Visit, size: Any, scheme: Any
) -> None:
    ann = visitor(viewport=size, color_scheme=scheme)
    for name in PAGES:
        page = ann.tab(name)
        names = page.evaluate(STOPS)
        for number, stop in enumerate(names):
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUS) == [number, []], f"{name}: {stop}"
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(FOCUS)[0] == len(names) - 2
        page.close()


def test_the_skip_link_is_first_and_leads_to_the_content(visitor: Visit) -> None:
    ann = visitor()
    for name in PAGES:
        page = ann.tab(name)
        skip = page.get_by_role("link", name="Skip to the content")
        page.keyboard.press("Tab")
        expect(skip).to_be_focused()
        assert page.evaluate("document.elementFromPoint(60, 15).className") == "skip"
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
        page.close()


def go_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on something with a name or a label, whatever its end is."""
    focused = """() => {
        const { labels, ariaLabel, innerText } = document.activeElement;
        return ariaLabel ?? labels?.[0]?.innerText ?? innerText ?? "";
    }"""
    for _ in range(60):
        if page.evaluate(focused).startswith(name):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no {name!r} by Tab")


def test_messages_are_sent_and_read_by_keyboard(visitor: Visit) -> None:
    ann = visitor()
    for name, label in (("inbox", "A message to yourself"), ("chat", "Your line")):
        page = ann.tab(name)
        go_to(page, label)
        page.keyboard.type(f"typed in {name}")
        page.keyboard.press("Enter")
        expect(entries(page).last).to_contain_text(f"typed in {name}")
        page.close()
    page = ann.tab("notifications")
    go_to(page, "Notify")
    page.keyboard.press("Space")
    expect(page.locator("#unread")).to_have_text("1")
    page.keyboard.press("Shift+Tab")
    go_to(page, "Skip")
    go_to(page, "Mark as read")
    page.keyboard.press("Enter")
    expect(page.locator("#unread")).to_have_text("0")
    expect(page.get_by_role("button", name="Mark as read")).to_be_focused()


def test_the_start_page_is_operated_by_keyboard(visitor: Visit) -> None:
    ann = visitor()
    page = ann.tab("")
    go_to(page, "CPU and memory")
    slider = page.get_by_role("slider").first
    page.wait_for_function("() => document.querySelector('#percent .line')")
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile(r"^1 s ago: cpu \d+ %, memory \d+ %$")
    )
    expect(page.locator("#percent .dot")).to_have_count(2)
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^now: "))
    expect(page.locator("#percent .dot")).to_have_count(0)
    go_to(page, "Online")
    page.keyboard.press("Space")
    expect(page.locator("#inbox-state")).to_have_text("offline")
    page.keyboard.press("Space")
    expect(page.locator("#inbox-state")).to_have_text("live")
    go_to(page, "To one listener")
    page.keyboard.type("night")
    expect(page.locator("#dispatch-listener")).to_have_value("night-shift")
    go_to(page, "Dispatch")
    page.keyboard.press("Enter")  # without a text: the focus goes to the error
    field = page.get_by_role("textbox", name="Message to one listener")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description("Enter a message.")
    ann.problems.clear()  # the browser logs the 400
    page.keyboard.type("for later")
    go_to(page, "Dispatch")
    page.keyboard.press("Enter")
    expect(page.locator("#dispatch .done")).to_have_text("Sent to night-shift.")
    expect(page.get_by_role("button", name="Dispatch")).to_be_focused()


def test_a_row_that_changes_keeps_the_focus(visitor: Visit) -> None:
    ann, bob = visitor().tab("orders"), visitor().tab("orders")
    count = len(rows(ann))
    go_to(ann, "New order")
    ann.keyboard.press("Enter")
    expect(ann.locator("#orders tr")).to_have_count(count + 1)
    expect(ann.get_by_role("button", name="New order")).to_be_focused()
    go_to(ann, "Pay")
    row = ann.locator("#orders tr", has=ann.locator("button:focus"))
    total = row.locator("td").first
    before = total.inner_text()
    bob.get_by_role("button", name="Raise").click()  # all rows are replaced
    expect(total).not_to_have_text(before)
    paid = row.get_attribute("id")
    ann.keyboard.press("Enter")
    expect(ann.locator(f"#{paid}.paid")).to_be_focused()  # its button is gone
    ann.keyboard.press("Tab")
    assert ann.evaluate("document.activeElement.name") == "pay"


def test_runs_are_operated_by_keyboard_and_the_focus_is_never_lost(visitor: Visit) -> None:
    page = visitor().tab("runs")
    go_to(page, QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Question")).to_be_focused()
    expect(page.locator(".passages p").first).to_be_visible()
    go_to(page, "Ask")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Stop").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_be_focused()
    expect(page.locator(".answer")).to_have_attribute("data-ended", "stopped")
    go_to(page, "Start an export")
    page.keyboard.press("Enter")
    expect(page.locator("#export-stop, #export-start").locator("visible=true")).to_be_focused()
    expect(page.locator("#export-state")).to_have_text("finished", timeout=2 * PATIENCE_MS)
    expect(page.get_by_role("button", name="Start an export")).to_be_focused()


# What is read out -----------------------------------------------------------------------

# As a screen reader: what comes into a live region after the page was parsed.
LISTEN = """
    window.announced = [];
    const REGION = "[aria-live], [role=log], [role=status], [role=alert], output";
    const observer = new MutationObserver((records) => {
        for (const { target, type, addedNodes } of records) {
            const element = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
            const region = element?.closest(REGION);
            if (!region?.checkVisibility() || region.ariaLive === "off") continue;
            const isWhole = region.role === "status" || type === "characterData";
            const texts = isWhole ? [region] : [...addedNodes];
            announced.push(...texts.map((each) => each.textContent.trim()).filter(Boolean));
        }
    });
    document.addEventListener("readystatechange", () => {
        if (document.readyState !== "interactive") return;
        observer.observe(document, { subtree: true, childList: true, characterData: true });
    });
"""
STATE = re.compile(r"^(connecting|live|reconnecting|starting|process \d+|\d+ unread)$")


def announced(page: Page) -> list[str]:
    """Return what was read out, without the states of streams and the number that is unread."""
    return [text for text in page.evaluate("announced") if not STATE.match(text)]


def test_new_messages_are_read_out_once_and_history_is_not(visitor: Visit) -> None:
    ann = visitor()
    ann.context.add_init_script(LISTEN)
    for name in ("inbox", "chat", "notifications"):
        page = ann.tab(name)
        expect(page.get_by_role("log")).not_to_have_attribute("aria-live", "off")
        send(page, f"old {name}")
        expect(entries(page).last).to_contain_text(f"old {name}")
        page.reload()
        expect(page.locator("#state")).to_have_text("live")
        expect(entries(page).last).to_contain_text(f"old {name}")
        expect(page.get_by_role("log")).not_to_have_attribute("aria-live", "off")
        assert announced(page) == []
        assert [text for text in page.evaluate("announced") if "unread" in text] == []
        send(page, f"new {name}")
        page.wait_for_function(
            "name => announced.some((each) => each.includes(`new ${name}`))", arg=name
        )
        found = [text for text in announced(page) if "typing" not in text]
        assert [text.endswith(f"new {name}") for text in found] == [True]
        page.close()
    page = ann.tab("")
    expect(page.get_by_role("log")).to_have_attribute("aria-live", "polite")
    assert "old inbox" in page.locator("#notes").inner_text()
    assert announced(page) == []
    page.fill("#broadcast-text", "to all")
    page.press("#broadcast-text", "Enter")
    page.wait_for_function("() => announced.some((each) => each.includes('to all'))")
    page.wait_for_function("() => announced.includes('Sent to everyone.')")
    assert sum("to all" in text for text in announced(page)) == 1


def test_a_toast_is_read_out_once(visitor: Visit) -> None:
    ann = visitor()
    ann.context.add_init_script(LISTEN)
    page = ann.tab("notifications")
    page.click("button[name=toast]")
    page.wait_for_function("() => announced.includes('Saved.')")
    expect(page.locator("#toasts p")).to_have_count(0)
    assert announced(page) == ["Saved."]


def test_of_an_answer_its_begin_and_end_are_read_out_not_each_word(visitor: Visit) -> None:
    ann = visitor()
    ann.context.add_init_script(LISTEN)
    page = ann.tab("runs")
    page.click("text=" + QUESTION)
    expect(page.locator(".passages p").first).to_be_visible()
    page.click(".stop")
    expect(page.locator(".answer")).to_have_attribute("data-ended", "stopped")
    assert announced(page) == [f"Answering: {QUESTION}", "The answer is stopped."]
    page.reload()
    expect(page.locator(".answer")).to_have_attribute("data-ended", "stopped")
    expect(page.locator("#worker-state")).to_have_text(re.compile("process"))
    assert announced(page) == []


# Looks ----------------------------------------------------------------------------------


def fill(page: Page, name: str) -> None:
    """Give a page what it shows when it is used, with a word that is too long for a line."""
    if name in ("inbox", "chat", "notifications"):
        send(page, "W" * 120)
        expect(entries(page).last).to_contain_text("W" * 120)
    elif name == "":
        page.press("#dispatch-text", "Enter")
        expect(page.locator("#dispatch-text-error")).not_to_be_empty()  # it then has the focus
        page.fill("#broadcast-text", "W" * 120)
        page.press("#broadcast-text", "Enter")
        expect(page.locator(".note .text")).to_have_text("W" * 120)
    elif name == "orders" and page.locator("button[name=pay]").count():
        page.locator("button[name=pay]").first.click()
        expect(page.locator(".paid").first).to_be_visible()
    elif name == "runs":
        page.fill("#ask-text", "nginx " + "W" * 120)
        page.press("#ask-text", "Enter")
        expect(page.locator(".passages p").first).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_the_page_fits_each_window(visitor: Visit, name: str) -> None:
    ann = visitor(viewport=WIDE)
    page = ann.tab(name)
    fill(page, name)
    ann.problems.clear()  # the form without a message
    page.evaluate((npm.install() / "axe-core" / "axe.min.js").read_text())
    for size, scheme in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_nothing_moves_for_users_who_want_less_motion(visitor: Visit) -> None:
    ann = visitor(reduced_motion="reduce")
    for name in PAGES:
        page = ann.tab(name)
        if name == "notifications":
            page.click("button[name=toast]")
            expect(page.locator("#toasts p")).to_have_text("Saved.")
        assert page.evaluate("document.getAnimations().length") == 0
        if name == "notifications":
            expect(page.locator("#toasts p")).to_have_count(0)
        page.close()
