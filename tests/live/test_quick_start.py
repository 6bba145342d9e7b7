"""README's quick start works unchanged on each server."""

from __future__ import annotations

import html
import os
import re
import time
from types import SimpleNamespace

import httpx
import pytest

from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import channel
from tests.databases import sqlite_only
from tests.live.first_event import MAX_LINES, lines_of_code
from tests.live.quick_start import (
    BLOCKS,
    CODE,
    COMMANDS,
    NAME,
    PASSWORD,
    PUBLISHING,
    README,
    SECTION,
    WITH_CURL,
    Project,
    command,
    commands,
    log_in,
)

LINES = {
    "runserver": "python manage.py runserver 127.0.0.1:{port}",
    "uvicorn": "uvicorn --port {port} mysite.asgi:application",
    "daphne": "daphne -p {port} mysite.asgi:application",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} mysite.asgi:application",
    "granian": "granian --interface asginl --port {port} mysite.asgi:application",
}
PATIENCE_S = 30

pytestmark = pytest.mark.versions


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("mysite"))
    project.run("django-admin startproject mysite .")
    for block in BLOCKS:
        project.write(*block)
    project.run(command("python manage.py migrate"))
    project.converse(
        command("python manage.py createsuperuser"),
        ("Username", NAME),
        ("Email", "ada@example.com"),
        ("Password:", PASSWORD),
        ("Password (again):", PASSWORD),
        ("created", ""),
    )
    return project


def within(seconds, lines):
    """Yield lines for some seconds: heartbeats are lines too, and never end."""
    deadline = time.monotonic() + seconds
    for line in lines:
        assert time.monotonic() < deadline
        yield line


def test_the_quick_start_has_these_files():
    files = ["settings.py", "asgi.py", "views.py", "urls.py"]
    assert sorted(path for path, _, _ in BLOCKS) == sorted(
        [*(f"mysite/{name}" for name in files), "templates/orders.html"]
    )
    assert SECTION.count("```") // 2 == len(BLOCKS) + 2  # and those that publish, and call curl
    assert lines_of_code() < MAX_LINES
    assert len(COMMANDS) == 5  # install, migrate, createsuperuser, runserver, publish


def test_every_block_and_command_of_readme_is_tested():
    others = [block for block in CODE if block not in [text for _, _, text in BLOCKS]]
    assert others == [PUBLISHING, WITH_CURL]
    checkout, demo, gate = (
        "python3 -m venv .venv && .venv/bin/",
        "manage.py demo",
        ".venv/bin/pytest -n auto",
    )
    others = [line for line in commands(README) if line not in COMMANDS]
    assert others == [
        f'{checkout}pip install -e ".[demo]" && .venv/bin/python {demo}',
        f'{checkout}pip install -e ".[test]" && {gate}',  # .ci/run runs it
    ]


@pytest.mark.parametrize("has_customer", [True, False])
@sqlite_only
def test_the_publishing_block_works(database, django_user_model, has_customer):
    ana = django_user_model.objects.create(username="ana")
    channel("orders")
    exec(PUBLISHING, {"order": SimpleNamespace(customer=ana if has_customer else None)})
    found = QueuedMessage.objects.order_by("id").values_list("payload", "owner")
    assert list(found) == [('{"id":7}', None), ('{"id":7}', ana.pk)][: 1 + has_customer]


def test_the_checks_report_nothing(project):
    project.run("python manage.py check --fail-level INFO")


@pytest.mark.parametrize(
    ("path", "line", "check"),
    [
        ("mysite/asgi.py", "application = with_streams(application)\n", "W020"),
        ("mysite/settings.py", '"daphne", ', "W021"),
    ],
)
def test_a_check_reports_a_missing_line(project, path, line, check):
    file = project.folder / path
    whole = file.read_text()
    assert line in whole
    file.write_text(whole.replace(line, ""))
    try:
        assert f"(eric_sse_django.{check})" in project.run("python manage.py check")
    finally:
        file.write_text(whole)


def test_asgi_py_can_be_imported_without_a_server(project):
    project.run("python -c 'import mysite.asgi; print(mysite.asgi.application)'")


@pytest.mark.parametrize("server", LINES)
def test_a_user_logs_in_and_sees_what_is_published(project, server):
    assert LINES["runserver"].startswith(command("python manage.py runserver"))
    with (
        project.serve(LINES[server]) as url,
        httpx.Client(base_url=url, follow_redirects=True, timeout=PATIENCE_S) as client,
    ):
        page = log_in(client, "/orders/")
        assert page.url.path == "/orders/"
        [path] = re.findall(r'data-stream="([^"]+)"', page.text)
        with client.stream("GET", html.unescape(path)) as stream:
            assert stream.status_code == 200
            lines = within(PATIENCE_S, stream.iter_lines())
            assert next(lines).startswith("retry:")
            project.run(command("python manage.py eric_publish"))
            assert next(line for line in lines if line.startswith("event:")) == "event: paid"
            assert next(lines) == 'data: {"id":7}'


def test_a_browser_shows_what_is_published(project, chromium):
    sync_api = pytest.importorskip("playwright.sync_api")
    with project.serve(LINES["runserver"]) as url, sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_S * 1_000)
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{url}/orders/")
        page.fill("[name=username]", NAME)
        page.fill("[name=password]", PASSWORD)
        with page.expect_response(lambda response: "/events/" in response.url) as answer:
            page.click("[type=submit]")
        assert answer.value.status == 200
        project.run(command("python manage.py eric_publish"))
        page.get_by_text("order 7").wait_for()
        assert problems == []
        browser.close()


def test_a_visitor_without_a_session_is_refused_the_stream(project):
    with project.serve(LINES["uvicorn"]) as url:
        assert httpx.get(f"{url}/events/orders/user-1/").status_code == 403


def test_curl_opens_a_stream_with_a_ticket(project):
    script, curl = WITH_CURL.rstrip().rsplit("\n", 1)
    assert curl == 'curl -N "http://127.0.0.1:8000$path"'
    with project.serve(LINES["uvicorn"]) as url:
        path = project.run(f'{script}\nprintf %s "$path"')
        with httpx.stream("GET", url + path, timeout=PATIENCE_S) as stream:
            assert stream.status_code == 200
            assert next(stream.iter_lines()).startswith("retry:")
