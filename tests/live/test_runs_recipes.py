"""The recipes of docs/runs.md work as they are, in a project with Celery."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests import npm
from tests.conftest import missing
from tests.faults.ending import ending_with_parent
from tests.live import node_clients
from tests.live.asgi_servers import ROOT, ASGIServer
from tests.live.fake_openai import ANSWER, FakeOpenAI

PAGE = (ROOT / "docs" / "runs.md").read_text()
FILES = dict(
    re.findall(r"^`([\w./]+)`[^\n]*\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
)
# Each recipe's application, and the package that it needs.
PACKAGES = {"celery": "celery", "chat": "openai", "agents": "pydantic_ai", "graphs": "langgraph"}
USERS = 3_000
TIMEOUT_S = 60

SCAFFOLD = {
    "mysite/settings.py": """
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
SECRET_KEY = "recipes"
DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "eric_sse_django",
    "chat",
    "exports",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": ["django.template.context_processors.request"],
        },
    },
]
ROOT_URLCONF = "mysite.urls"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "bundles"]
MEDIA_ROOT = BASE_DIR / "media"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
ERIC_SSE = {"RUNS_LEASE_S": 5, "SQLITE_LOOK_INTERVAL_S": 0.02, "RETRY_MS": 200}
""",
    "mysite/__init__.py": "from mysite.tasks import app\n",
    "mysite/tasks.py": """
import os
from pathlib import Path

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
folder = Path(__file__).parents[1] / "queue"
folder.mkdir(exist_ok=True)
app = Celery("mysite", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "control_folder": str(folder),
    },
    worker_hijack_root_logger=False,
    imports=["chat.tasks", "exports.tasks", "agents.tasks", "research.tasks", "graphs.tasks"],
)
""",
    "mysite/urls.py": """
from django.conf import settings
from django.conf.urls.static import static
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.template import Context, Template
from django.urls import include, path

from eric_sse_django import runs
from exports import views

REACT = '''<!doctype html><meta charset=utf-8>
<div id=root data-chat=c data-token={}></div><script src=/static/chat.js></script>'''


def react(request):
    return HttpResponse(REACT.format(get_token(request)))


def start(request, kind):
    from agents.tasks import ask
    from graphs.tasks import report
    from research.tasks import research

    its_task = {"agents": ask, "research": research, "graphs": report}[kind]
    run = runs.enqueue(its_task, ["A question"], owner=request.user, kind=kind)
    return JsonResponse({"id": run.name})


urlpatterns = [
    path("", include("chat.urls")),
    path("react/", react),
    path("exports/", views.page),
    path("start/<kind>/", start),
    *static("/media/", document_root=settings.MEDIA_ROOT),
]
""",
    "mysite/asgi.py": """
import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_application = ASGIStaticFilesHandler(get_asgi_application())

from eric_sse_django.routing import with_streams

application = with_streams(django_application)
""",
    "graphs/steps.py": """
import time


def plan(state):
    time.sleep(1)
    return {"parts": [f"Plan of {state['topic']}. "]}


def search(state):
    with open("searches", "a") as file:
        file.write("one\\n")
    time.sleep(2)
    return {"parts": ["Found it. "]}


def write(state):
    time.sleep(1)
    return {"parts": ["Written."]}
""",
}
PREPARE = f"""
import django

django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
User.objects.bulk_create([User(username=f"user-{{number}}") for number in range({USERS - 1})])
client = Client()
client.force_login(User.objects.create(username="ana"))
print(client.cookies["sessionid"].value)
"""


class Project:
    """A project made of the page's files, with its server and a worker, which tests may kill."""

    def __init__(self, directory: Path, openai: FakeOpenAI) -> None:
        self.directory = directory
        self.openai = openai
        for path, text in [*SCAFFOLD.items(), *FILES.items()]:
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as opened:  # the page adds to the settings
                opened.write(text)
        for package in ("chat", "exports", "agents", "research", "graphs"):
            (directory / package / "__init__.py").touch()
        for folder in ("bundles", "media"):
            (directory / folder).mkdir()
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{directory}:{ROOT}",
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "OPENAI_BASE_URL": openai.url,
            "OPENAI_API_KEY": "none",
        }
        self.session = self.run("-c", PREPARE).split()[-1]
        self.server = ASGIServer(
            "uvicorn", application="mysite.asgi:application", environment=self.environment
        )
        self.url = self.server.url
        self.workers = 0

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_worker(self) -> None:
        """Start a worker of Celery."""
        command = [sys.executable, "-m", "celery", "-A", "mysite", "worker", "-l", "info"]
        pool = ["-P", "threads", "-c", "4"]
        alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with (self.directory / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                ending_with_parent([*command, *pool, *alone]),
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.workers += 1

    def kill_worker(self) -> None:
        self.worker.kill()
        self.worker.wait()

    def logged(self) -> str:
        return (self.directory / "worker.log").read_text()[-3_000:]

    async def start(self, kind: str) -> str:
        async with httpx.AsyncClient(cookies={"sessionid": self.session}, timeout=60) as client:
            answer = await client.get(f"{self.url}/start/{kind}/")
            assert answer.status_code == 200, answer.text
            return str(answer.json()["id"])

    async def events(self, run_id: str):
        """Yield the events of a run to its end, over reconnects."""
        last = ""
        async with httpx.AsyncClient(cookies={"sessionid": self.session}, timeout=60) as client:
            url = f"{self.url}/events/runs/{run_id}/"
            while True:
                headers = {"Last-Event-ID": last}
                async with client.stream("GET", url, headers=headers) as response:
                    if response.status_code == 204:
                        return
                    assert response.status_code == 200
                    kind = ""
                    async for line in response.aiter_lines():
                        name, _, value = line.partition(": ")
                        if name == "id":
                            last = value
                        elif name == "event":
                            kind = value
                        elif name == "data":
                            yield kind, json.loads(value)

    async def followed(self, run_id: str, meanwhile=None):
        """Return the text and the result of a run; `meanwhile` is called with the text so far."""
        text, result = "", None
        async for kind, data in self.events(run_id):
            if kind == "run-chunk":
                text += data["text"]
                if meanwhile is not None:
                    meanwhile(text)
            assert kind != "run-failed", (data, self.logged())
            if kind == "run-finished":
                result = data["result"]
        return text, result


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    for package in PACKAGES.values():
        if find_spec(package) is None:
            missing(f"{package} is not installed")
    with FakeOpenAI() as openai:
        project = Project(tmp_path_factory.mktemp("recipes"), openai)
        project.server.command[-1:] = [
            project.server.command[-1],
            "--app-dir",
            str(project.directory),
        ]
        project.start_worker()
        try:
            with project.server:
                yield project
        finally:
            project.kill_worker()


def killing(project, after):
    """Return what kills the worker once the text is so long, and starts the next one."""
    before = project.workers

    def meanwhile(text):
        if len(text) >= after and project.workers == before:
            project.kill_worker()
            project.start_worker()

    return meanwhile


def test_every_file_of_the_page_is_tested():
    recipes = PAGE.split("# Recipes")[1]
    assert len(FILES) == 1 + recipes.count("```") // 2  # one is the settings


async def test_pydantic_ai_writes_an_answer(project):
    text, result = await project.followed(await project.start("agents"))
    assert text == ANSWER
    assert result["tokens"] > 0


async def test_a_background_response_is_continued_after_a_killed_worker(project):
    before, workers = len(project.openai.responses), project.workers
    run_id = await project.start("research")
    text, _ = await project.followed(run_id, killing(project, 300))
    assert project.workers == workers + 1
    assert text == ANSWER
    assert len(project.openai.responses) == before + 1
    assert any(each.startswith("GET /v1/responses/") for each in project.openai.requests)


async def test_a_graph_is_continued_at_the_step_that_was_not_done(project):
    workers = project.workers
    run_id = await project.start("graphs")
    text, _ = await project.followed(run_id, killing(project, 5))
    assert project.workers == workers + 1
    assert text == "Plan of A question. Found it. Written."
    plans = (project.directory / "searches").read_text().split()
    assert 1 <= len(plans) <= 2  # the step during which the worker was killed


# Chromium ---------------------------------------------------------------------------------------

async_api = pytest.importorskip("playwright.async_api")


@pytest.fixture
async def page(chromium, project):
    async with async_api.async_playwright() as playwright:
        process = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await process.new_context()
        cookie = {"name": "sessionid", "value": project.session, "url": project.url}
        await context.add_cookies([cookie])
        yield await context.new_page()
        await process.close()


@pytest.fixture(scope="module")
def bundles(project):
    """Put the page's scripts and htmx into the project, as its build would."""
    npm.install()
    place = project.directory / "bundles"
    node_clients.bundle(project.directory / "chat.jsx", place)
    shutil.copy(npm.MODULES / "htmx.org/dist/htmx.min.js", place)


async def has_text(page, selector, text):
    found = f"document.querySelector({selector!r})?.textContent"
    try:
        await page.wait_for_function(f"text => {found} === text", arg=text)
    except async_api.TimeoutError:
        assert await page.evaluate(found) == text
        raise


async def begins(page, selector):
    found = f"document.querySelector({selector!r})?.textContent.length > 40"
    await page.wait_for_function(found)


async def test_a_chat_with_htmx_continues_after_a_reload(project, page, bundles):
    await page.goto(project.url)
    await page.fill("[name=question]", "Why?")
    await page.press("[name=question]", "Enter")
    await begins(page, "[data-run=text]")
    await page.reload()
    await begins(page, "[data-run=text]")
    await has_text(page, "[data-run=text]", ANSWER)
    assert await page.text_content("h3") == "Why?"


async def test_a_chat_with_htmx_is_stopped_by_its_button(project, page, bundles):
    await page.goto(project.url)
    answers = await page.locator("article").count()
    await page.fill("[name=question]", "Stop?")
    await page.press("[name=question]", "Enter")
    last = page.locator("article").nth(answers)
    await page.wait_for_function(
        "n => document.querySelectorAll('[data-run=text]')[n]?.textContent.length > 40",
        arg=answers,
    )
    await last.locator("button").click()
    await page.wait_for_function(
        "n => document.querySelectorAll('eric-run')[n].getAttribute('status') === 'stopped'",
        arg=answers,
    )
    text = await last.locator("[data-run=text]").text_content()
    assert ANSWER.startswith(text)
    assert text != ANSWER


async def test_a_chat_with_react_continues_after_a_reload(project, page, bundles):
    await page.goto(f"{project.url}/react/")
    await page.fill("[name=question]", "Why?")
    await page.press("[name=question]", "Enter")
    await begins(page, ".assistant")
    await page.reload()
    await begins(page, ".assistant")
    await has_text(page, ".assistant", ANSWER)


async def test_an_export_moves_its_bar_and_shows_its_file(project, page):
    await page.goto(f"{project.url}/exports/")
    await page.wait_for_selector("#file:not([hidden])")
    path = await page.get_attribute("#file", "href")
    lines = httpx.get(f"{project.url}{path}").text.split()
    assert len(lines) == USERS
    assert lines[-1].endswith(",ana")
    assert await page.evaluate("document.querySelector('progress').value") == USERS
