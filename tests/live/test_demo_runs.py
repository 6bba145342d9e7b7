"""The page of runs of the demo in Chromium: reloads, a second tab, stop, a killed worker."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.live import nginx
from tests.live.test_demo import Demo, browser, demo, demo_with, running_browser
from tests.live.test_demo import tables as tables
from tests.patience import PATIENCE_MS, PATIENCE_S
from tests.server import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api").expect

__all__ = ["browser", "demo", "demo_with", "running_browser"]
QUESTION = "How do I deploy behind nginx with Redis?"
# An answer has 300 words, each after 35 ms; a worker that was killed costs 3 s more.
ANSWER_MS = 2 * PATIENCE_MS
ANSWER = """
import json
from demo_project.work.documentation import answer
from eric_sse_django import runs
run = runs.Run.objects.filter(kind="answer").order_by("pk").last()
found = "".join(chunk.value for chunk in runs.read(run))
print(json.dumps([run.status, run.epoch, found, "".join(answer(run.title))]))
"""


class Tab:
    """A tab on the page of runs; `problems` are the errors in its console."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(f"{url}runs/")
        expect(page.locator("#worker-state")).to_have_text(re.compile(r"process \d+"))

    def _on_console(self, message: Any) -> None:
        # A page that is left cuts its streams.
        if message.type in ("error", "warning") and "ERR_INCOMPLETE" not in message.text:
            self.problems.append(message.text)

    def ask(self, question: str = QUESTION) -> None:
        self.page.fill("#ask-text", question)
        self.page.press("#ask-text", "Enter")
        self.has_begun()

    def has_begun(self) -> None:
        expect(self.page.locator(".passages p").first).to_be_visible()

    def lines(self) -> list[str]:
        return self.page.locator(".passages > *").all_text_contents()

    def is_over(self, status: str = "finished") -> None:
        answer = self.page.locator(f'.answer[data-ended="{status}"]')
        expect(answer).to_have_count(1, timeout=ANSWER_MS)


@pytest.fixture
def tab(demo: Demo, browser: Browser) -> Iterator[Tab]:
    tab = Tab(browser.new_context().new_page(), demo.url)
    yield tab
    assert tab.problems == []


def shown(text: str) -> list[str]:
    """Return the lines of an answer as the page shows them."""
    plain = [re.sub(r"`([^`]+)`|\*\*([^*]+)\*\*", r"\1\2", line) for line in text.split("\n")]
    return [re.sub(r"^#+ ?", "", re.sub(r"^[-*] ", "• ", line)) for line in plain if line]


def answer_of(demo: Demo) -> tuple[str, int, str, str]:
    """Return the last answer's status, producers, its text in the log, and what that must be."""
    done = demo.run("shell", "-v", "0", "-c", ANSWER)
    assert done.returncode == 0, done.stderr
    status, epoch, found, wanted = json.loads(done.stdout.splitlines()[-1])
    return status, epoch, found, wanted


def test_an_answer_survives_a_reload_a_second_tab_and_a_killed_worker(demo, tab):
    tab.ask()
    tab.page.reload()
    tab.has_begun()
    second = Tab(tab.page.context.new_page(), demo.url)
    second.has_begun()
    first_worker = tab.page.inner_text("#worker-pid")
    tab.page.click("#kill")
    expect(tab.page.locator("#events")).to_contain_text(f"Worker {first_worker} was killed")
    expect(tab.page.locator(".continued")).to_contain_text("continued at word")
    assert not psutil.pid_exists(int(first_worker))
    tab.is_over()
    second.is_over()

    status, producers, found, wanted = answer_of(demo)
    assert (status, producers, found) == ("finished", 2, wanted)
    assert tab.lines() == second.lines() == shown(wanted)
    assert second.problems == []
    tab.page.reload()
    tab.is_over()
    assert tab.lines() == shown(wanted)


def test_a_question_appears_in_the_other_tab_and_stops_there(demo, tab):
    second = Tab(tab.page.context.new_page(), demo.url)
    tab.ask()
    second.has_begun()
    second.page.click(".stop")
    tab.is_over("stopped")
    second.is_over("stopped")
    status, _, found, wanted = answer_of(demo)
    assert status == "stopped"
    assert wanted.startswith(found)
    assert tab.lines() == second.lines() == shown(found)
    # The next question is answered, too.
    tab.page.fill("#ask-text", "tickets")
    tab.page.press("#ask-text", "Enter")
    expect(tab.page.locator(".answer")).to_have_count(2)


def test_an_answer_continues_after_an_outage_during_which_nginx_answers_502(
    demo, browser, tmp_path
):
    proxy, url = nginx.start(tmp_path, demo.port)
    tab = Tab(browser.new_context().new_page(), f"{url}/")
    statuses: list[int] = []
    tab.page.on("response", lambda response: statuses.append(response.status))
    tab.ask()
    demo.interrupt()  # the worker ends, too

    def is_502() -> bool:
        tab.page.evaluate("0")  # Playwright calls its handlers only during a call
        return 502 in statuses

    assert until(is_502, PATIENCE_S)
    before = tab.lines()
    demo.start()
    tab.is_over()
    status, _, found, wanted = answer_of(demo)
    assert (status, found) == ("finished", wanted)
    assert tab.lines() == shown(wanted)
    assert len(before) < len(tab.lines())
    proxy.terminate()
    proxy.wait(PATIENCE_S)


def test_only_one_answer_at_a_time_is_started(tab):
    tab.ask()
    tab.page.fill("#ask-text", "another")
    tab.page.press("#ask-text", "Enter")
    expect(tab.page.locator("#ask-text-error")).to_contain_text("One answer at a time")
    # The browser logs the 400.
    tab.problems.clear()


def test_an_export_continues_after_a_killed_worker_and_has_each_message_once(demo, tab):
    tab.page.click("#export-start")
    expect(tab.page.locator("#export-text")).to_have_text(re.compile(r"^\d+ of \d+ messages"))
    tab.page.click("#kill")
    expect(tab.page.locator("#events")).to_contain_text("continued a run at")
    tab.page.reload()
    expect(tab.page.locator("#export-state")).to_have_text("finished", timeout=ANSWER_MS)
    with tab.page.expect_download() as downloading:
        tab.page.click("#export-file")
    file = downloading.value.path().read_text()
    header, *rows = csv.reader(io.StringIO(file))
    positions = [int(row[0]) for row in rows]
    assert header == ["position", "channel", "type", "payload", "created_at"]
    assert positions == sorted(set(positions))
    assert f"{len(rows)} messages" in tab.page.inner_text("#export-text")
    # The channel "orders" has text, the others JSON.
    kinds = [str if row[1] == "orders" else (dict, list) for row in rows]
    payloads = [json.loads(row[3]) for row in rows]
    assert all(map(isinstance, payloads, kinds))


def test_the_runs_of_another_session_are_not_found(demo, tab):
    tab.ask()
    run = tab.page.locator(".answer").get_attribute("data-run")
    for path in ("stream/", "log.csv"):
        assert httpx.get(f"{demo.url}runs/{run}/{path}").status_code == 404
    stream = httpx.get(f"{demo.url}events/runs/{run}/")
    assert stream.status_code == 403


def test_the_worker_ends_with_the_demo(demo_with, browser):
    demo = demo_with()
    tab = Tab(browser.new_context().new_page(), demo.url)
    worker = psutil.Process(int(tab.page.inner_text("#worker-pid")))
    os.kill(demo.process.pid, 9)
    assert until(lambda: not worker.is_running() or worker.status() == "zombie", PATIENCE_S)


def test_the_element_imports_no_file_of_another_origin(demo, tab):
    imported: list[Any] = []
    tab.page.route("https://attacker.example/**", lambda route: imported.append(route))
    with tab.page.expect_event("pageerror"):
        tab.page.evaluate("""() => {
            const element = document.createElement("eric-run");
            element.setAttribute("client", "https://attacker.example/x.js");
            element.setAttribute("src", "/events/");
            element.setAttribute("status", "running");
            document.body.append(element);
        }""")
    assert imported == []
    assert "another origin" in tab.problems.pop()
