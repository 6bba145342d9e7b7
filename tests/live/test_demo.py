"""The demo site as visitors see it: `manage.py demo` in a process, and Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests import forking
from tests.live.quick_start import README, clean_environment, commands, serving
from tests.patience import PATIENCE_MS, PATIENCE_S
from tests.server import free_port, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator

expect = pytest.importorskip("playwright.sync_api").expect

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"


class Demo:
    """`manage.py demo` on a free port, with a separate database that is kept after it stops."""

    def __init__(self, directory: Path, **environment: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        self.database = directory / "demo.sqlite3"
        self.environment = {
            **inherited,
            "PYTHONUNBUFFERED": "1",
            "DEMO_DATABASE": str(self.database),
            "DEMO_SECRET_KEY": "tests only: signs nothing that leaves this machine",
            **environment,
        }
        self.log = directory / "demo.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[bytes] | forking.Forked | None = None

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-W", "error", "manage.py", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `manage.py …` with the same database, for 30 s at most."""
        command = self.command(*arguments)
        return forking.run(command, cwd=ROOT, env=self.environment, timeout_s=START_TIMEOUT_S)

    def start(self) -> None:
        """Start it, and return when it accepts connections. Raises AssertionError after 30 s."""
        with self.log.open("ab") as log:
            command = self.command("demo", "--port", str(self.port))
            self.process = forking.popen(command, cwd=ROOT, env=self.environment, stdout=log)
        process = self.process
        until(lambda: process.poll() is not None or self._answers(), START_TIMEOUT_S)
        assert process.poll() is None, self.logged()

    def interrupt(self) -> float:
        """Stop it as Ctrl-C does; return the seconds this took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_TIMEOUT_S)
        return time.monotonic() - began

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database file with the demo's tables, which take longer to make than to copy."""
    demo = Demo(tmp_path_factory.mktemp("tables"))
    made = demo.run("migrate", "--verbosity=0")
    assert made.returncode == 0, made.stderr
    return demo.database


@pytest.fixture
def demo_with(tmp_path: Path, tables: Path) -> Iterator[Callable[..., Demo]]:
    """Return a function that starts the demo, given environment variables."""
    with ExitStack() as stack:

        def start(**environment: str) -> Demo:
            demo = Demo(tmp_path, **environment)
            shutil.copy(tables, demo.database)
            stack.callback(demo.kill)
            demo.start()
            return demo

        yield start


@pytest.fixture(scope="module")
def demo(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Return the demo of all tests: a new visitor sees no older message."""
    demo = Demo(tmp_path_factory.mktemp("demo"))
    shutil.copy(tables, demo.database)
    demo.start()
    yield demo
    demo.kill()


@pytest.fixture(scope="module")
def running_browser(chromium: str) -> Iterator[Browser]:
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def browser(running_browser: Browser) -> Iterator[Browser]:
    """Return a browser without a session: each Visitor has a separate one."""
    yield running_browser
    for context in running_browser.contexts:
        context.close()


class Visitor:
    """A new browser session on the demo's page; `problems` are the errors in its console."""

    def __init__(self, browser: Browser, url: str, width: int = 1280) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.problems: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(url)
        self.name = self.page.locator(".identity code").inner_text()
        self.is_live()

    def _on_console(self, message: ConsoleMessage) -> None:
        # Violations of the Content-Security-Policy are reported here too.
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def is_live(self) -> None:
        expect(self.page.locator("#inbox-state")).to_have_text("live", timeout=PATIENCE_MS)
        expect(self.page.locator("#vitals-state")).to_have_text("live", timeout=PATIENCE_MS)

    def broadcast(self, text: str) -> None:
        self.page.fill("#broadcast-text", text)
        self.page.press("#broadcast-text", "Enter")
        expect(self.page.locator("#broadcast .done")).to_have_text("Sent to everyone.")

    def dispatch(self, listener: str, text: str) -> None:
        self.page.select_option("#dispatch-listener", listener)
        self.page.fill("#dispatch-text", text)
        self.page.press("#dispatch-text", "Enter")
        expect(self.page.locator("#dispatch .done")).to_have_text(f"Sent to {listener}.")

    def toggle(self) -> None:
        self.page.get_by_role("switch", name="Online").press("Space")

    def receives(self, *texts: str, selector: str = ".note") -> None:
        """Wait until the notes have these texts, in this order."""
        notes = self.page.locator(f"{selector} .text")
        expect(notes).to_have_text(list(texts), timeout=PATIENCE_MS)

    def queue_of(self, listener: str) -> Locator:
        return self.row_of(listener).locator(".count")

    def row_of(self, listener: str) -> Locator:
        rows = self.page.locator("#listeners tr")
        return rows.filter(has=self.page.get_by_role("button", name=listener, exact=True))


def test_a_visitor_who_was_offline_gets_the_missed_messages_in_order(demo, browser):
    ann, bob = Visitor(browser, demo.url), Visitor(browser, demo.url)
    bob.broadcast("before")
    ann.receives("before")

    ann.toggle()
    expect(ann.page.locator("#inbox-state")).to_have_text("offline")
    expect(ann.row_of(bob.name)).to_contain_text("online")
    expect(bob.row_of(ann.name)).not_to_contain_text("online")
    bob.broadcast("first")
    bob.dispatch(ann.name, "second, to Ann alone")
    ann.broadcast("third, by Ann herself")
    hello = 'from eric_sse_django.shortcuts import publish; publish("inbox", "note", "fourth")'
    shell = demo.run("shell", "-c", hello)
    assert shell.returncode == 0, shell.stderr
    expect(ann.page.locator("#away")).to_have_text("4 messages wait for you.")
    expect(ann.queue_of(ann.name)).to_have_text("4")
    ann.receives("before")

    ann.toggle()
    missed = ["first", "second, to Ann alone", "third, by Ann herself", "fourth"]
    ann.receives("before", *missed)
    ann.receives(*missed, selector=".note.replayed")
    expect(ann.page.locator(".divider")).to_have_text("While you were offline: 4 messages")
    expect(ann.page.locator("#away")).to_be_hidden()
    expect(ann.queue_of(ann.name)).to_have_text("0")

    bob.broadcast("live again")
    ann.receives("before", *missed, "live again")
    ann.receives(*missed, selector=".note.replayed")
    bob.receives("before", "first", "third, by Ann herself", "fourth", "live again")
    bob.receives(selector=".note.replayed")
    positions = [
        int(note.get_attribute("data-position") or 0) for note in ann.page.locator(".note").all()
    ]
    assert positions == sorted(set(positions))
    assert (ann.problems, bob.problems) == ([], [])


def test_messages_published_while_the_page_was_closed_are_shown_when_it_opens(demo, browser):
    ann, bob = Visitor(browser, demo.url), Visitor(browser, demo.url)
    ann.page.goto("about:blank")
    bob.broadcast("while she was offline")
    ann.page.goto(demo.url)
    ann.receives("while she was offline", selector=".note.replayed")
    assert (ann.problems, bob.problems) == ([], [])


def test_messages_that_an_operator_replays_are_marked_in_place(demo, browser):
    ann = Visitor(browser, demo.url)
    ann.broadcast("one")
    ann.broadcast("two")
    ann.receives("one", "two")
    ann.receives(selector=".note.replayed")
    replay = f"""
from datetime import timedelta
from django.utils import timezone
from eric_sse_django.database import operations
from eric_sse_django.models import Listener
rows = Listener.objects.filter(name="{ann.name}").select_related("channel")
operations.replay(rows, timezone.now() - timedelta(hours=1))
"""
    done = demo.run("shell", "-c", replay)
    assert done.returncode == 0, done.stderr
    ann.receives("one", "two", selector=".note.replayed")
    ann.receives("one", "two")
    assert ann.problems == []


def test_the_chart_moves_and_keeps_its_history_over_a_reload(demo, browser):
    ann = Visitor(browser, demo.url)
    line = ann.page.locator("#percent .line.cpu").first
    expect(ann.page.locator("#now-cpu")).to_have_text(re.compile(r"^\d+ %$"))
    expect(ann.page.locator("#now-received")).to_have_text(re.compile(r"^[\d.]+ [kMG]?B/s$"))

    def is_drawn() -> bool:
        return (line.get_attribute("d") or "").count("L") >= 6

    assert until(is_drawn, timeout_s=15)
    opened: list[str] = []
    ann.page.on("request", lambda request: opened.append(request.url))

    def streams() -> list[str]:
        ann.page.evaluate("0")  # Playwright calls its handlers only during a call
        return [url for url in opened if "/events/" in url]

    ann.page.reload()
    assert until(is_drawn, timeout_s=4)  # within fewer seconds than samples
    # The history may be drawn before the stream is opened.
    assert until(lambda: streams() != [], timeout_s=4)
    assert len(streams()) == 1
    assert ann.problems == []


def test_the_slow_worker_takes_its_messages_and_answers(demo_with, browser):
    demo = demo_with()  # else what other tests have broadcast waits for it, too
    ann = Visitor(browser, demo.url)
    ann.dispatch("slow-worker", "one job")
    ann.receives("Done: one job")
    ann.dispatch("night-shift", "for later")
    expect(ann.queue_of("night-shift")).to_have_text("1")
    expect(ann.queue_of("slow-worker")).to_have_text("0")
    assert ann.problems == []


def test_markup_in_a_message_is_text(demo, browser):
    ann = Visitor(browser, demo.url)
    title = ann.page.title()
    ann.broadcast(HOSTILE)
    ann.receives(HOSTILE)
    assert ann.page.title() == title
    assert ann.page.locator(".note script, .note img").count() == 0
    assert ann.problems == []


def test_a_form_shows_an_error_beside_its_field(demo, browser):
    ann = Visitor(browser, demo.url)
    ann.page.press("#broadcast-text", "Enter")
    expect(ann.page.locator("#broadcast-text-error")).to_have_text("Enter a message.")
    expect(ann.page.locator("#broadcast-text")).to_have_attribute("aria-invalid", "true")
    expect(ann.page.locator("#broadcast-text")).to_be_focused()

    ann.page.fill("#broadcast-text", "x" * 501)
    expect(ann.page.locator("#broadcast-text-error")).to_be_empty()
    ann.page.press("#broadcast-text", "Enter")
    expect(ann.page.locator("#broadcast-text-error")).to_contain_text("at most 500 characters")


def test_a_chosen_listener_that_was_removed_is_not_replaced_by_another(demo_with, browser):
    demo = demo_with()
    ann = Visitor(browser, demo.url)
    ann.page.select_option("#dispatch-listener", "night-shift")
    remove = "from eric_sse_django.database import DatabaseChannel as C; "
    remove += 'C.load("inbox").remove_listener("night-shift")'
    assert demo.run("shell", "-c", remove).returncode == 0
    expect(ann.page.locator("#listeners tr")).to_have_count(2)
    ann.page.fill("#dispatch-text", "hello?")
    ann.page.press("#dispatch-text", "Enter")
    error = ann.page.locator("#dispatch-listener-error")
    expect(error).to_contain_text("There is no listener 'night-shift'")


def test_an_unknown_listener_and_a_missing_csrf_token_are_refused(demo):
    with httpx.Client(base_url=demo.url, timeout=10) as client:
        html = client.get("/").text
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', html)
        assert token is not None
        note = {"listener": "nobody", "text": "hello"}
        assert client.post("/dispatch/", data=note).status_code == 403
        refused = client.post("/dispatch/", data={**note, "csrfmiddlewaretoken": token[1]})
    assert refused.status_code == 400
    assert "no listener 'nobody'" in refused.json()["errors"]["listener"][0]


def test_a_page_outlives_its_ticket(demo_with, browser):
    demo = demo_with(DEMO_TICKET_S="1")
    ann = Visitor(browser, demo.url)
    ended = time.monotonic() + 1.1
    ann.broadcast("before")
    ann.receives("before")
    demo.interrupt()
    expect(ann.page.locator("#inbox-state")).to_have_text("reconnecting")
    assert until(lambda: time.monotonic() > ended, PATIENCE_S)
    demo.start()
    ann.is_live()
    ann.broadcast("after")
    ann.receives("before", "after")


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_fits_the_window(demo, browser, width):
    ann = Visitor(browser, demo.url, width)
    ann.broadcast("W" * 400)
    ann.receives("W" * 400)
    for panel in ann.page.locator("header, .panel, .note, .command, input, button").all():
        box = panel.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width), box
    assert ann.problems == []


def test_ctrl_c_stops_it_quickly_and_the_next_start_continues(demo_with, browser):
    demo = demo_with()
    first = demo.logged()
    assert "printed only this once" in first
    ann = Visitor(browser, demo.url)
    taken = demo.run("demo", "--port", str(demo.port))
    assert taken.returncode == 1
    assert f"Port {demo.port} of 127.0.0.1 is used by another program" in taken.stderr
    assert "--port" in taken.stderr

    assert demo.interrupt() < 3.0
    assert demo.process is not None
    assert demo.process.returncode == 0
    assert "Traceback" not in demo.logged(), demo.logged()
    demo.start()
    assert demo.logged().count("printed only this once") == 1
    ann.is_live()  # without a reload
    ann.broadcast("still here")
    ann.receives("still here")
    assert demo.interrupt() < 3.0
    assert "Traceback" not in demo.logged(), demo.logged()


def test_six_tabs_of_one_browser_share_a_stream_and_show_the_same(demo, browser):
    ann = Visitor(browser, demo.url)
    tabs = [ann.page]
    for _ in range(5):
        tab = ann.context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.goto(demo.url)
        tabs.append(tab)
    for tab in tabs:
        expect(tab.locator("#inbox-state")).to_have_text("live", timeout=PATIENCE_MS)
    ann.broadcast("to all tabs")
    for tab in tabs:
        expect(tab.locator(".note .text")).to_have_text(["to all tabs"], timeout=PATIENCE_MS)
    assert ann.problems == []


def test_a_tab_that_was_offline_gets_the_messages_of_another_tab(demo, browser):
    ann = Visitor(browser, demo.url)
    other = ann.context.new_page()
    other.goto(demo.url)
    expect(other.locator("#inbox-state")).to_have_text("live", timeout=PATIENCE_MS)
    ann.broadcast("before")
    ann.receives("before")
    ann.toggle()
    expect(ann.page.locator("#inbox-state")).to_have_text("offline")
    expect(ann.page.locator("#vitals-state")).to_have_text("live", timeout=PATIENCE_MS)
    ann.broadcast("while one tab was offline")
    texts = ["before", "while one tab was offline"]
    expect(other.locator(".note .text")).to_have_text(texts, timeout=PATIENCE_MS)
    ann.receives("before")
    ann.toggle()
    ann.receives(*texts)
    expect(other.locator(".note .text")).to_have_text(texts)
    assert ann.problems == []


def test_a_reload_keeps_the_inbox(demo, browser):
    ann, bob = Visitor(browser, demo.url), Visitor(browser, demo.url)
    bob.broadcast("one")
    bob.dispatch(ann.name, "two")
    ann.receives("one", "two")
    ann.page.reload()
    ann.receives("one", "two")
    ann.receives(selector=".note.replayed")
    bob.broadcast("three")
    ann.receives("one", "two", "three")
    assert (ann.problems, bob.problems) == ([], [])


def test_the_shell_command_works_unchanged(demo, browser):
    ann = Visitor(browser, demo.url)
    line = ann.page.locator("#command").inner_text()
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        ["sh", "-c", line],
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ann.receives("Hello from a shell")
    assert ann.problems == []


def test_the_command_of_the_demo_works_in_a_checkout(tmp_path: Path) -> None:
    """It creates a virtual environment, and installs the packages that it needs."""
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "*.sqlite3*", ".*cache", "__pycache__", "node_modules"
    )
    shutil.copytree(ROOT, checkout, ignore=ignored)
    [line] = [line for line in commands(README) if line.endswith("manage.py demo")]
    with serving(f"{line} --port {{port}}", checkout, clean_environment(), "/") as url:
        page = httpx.get(url, timeout=START_TIMEOUT_S)
    assert page.status_code == 200
    assert "/events/" in page.text
