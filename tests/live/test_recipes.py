"""The files of docs/testing.md work in a project as the page describes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import addresses, databases
from tests.databases import on
from tests.faults.scale import LONG_S
from tests.live.asgi_servers import ROOT

pytestmark = pytest.mark.timeout(LONG_S)

PAGE = (ROOT / "docs" / "testing.md").read_text()
FILES = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))

SCAFFOLD = {
    "settings.py": """
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "recipes"
INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "eric_sse_django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "urls"
ASGI_APPLICATION = "asgi.application"
DATABASES = {{"default": {entry!r}}}
""",
    "pytest.ini": """
[pytest]
asyncio_default_fixture_loop_scope = function
""",
    "urls.py": """
from django.urls import path

from orders import views

urlpatterns = [path("pay/<int:number>/", views.pay), path("board/", views.board)]
""",
    "asgi.py": """
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django_application = get_asgi_application()

from eric_sse_django.routing import with_streams

application = with_streams(django_application)
""",
}


@pytest.fixture
def project(tmp_path, database, database_servers):
    """Return the directory of a project that uses SQLite or the session's PostgreSQL."""
    name = {alias: name for name, alias in databases.ALIASES.items()}[database]
    port = str(database_servers[name].port) if name in database_servers else ""
    where = str(tmp_path / "db.sqlite3") if name == "sqlite" else "recipes"
    entry = addresses.entry(name, where, port)
    for path, text in SCAFFOLD.items():
        (tmp_path / path).write_text(text.format(entry=entry))
    for path, text in FILES.items():
        if path == "settings.py":
            if name == "sqlite":
                with (tmp_path / path).open("a") as settings:
                    settings.write(text)
            continue
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for package in ("orders", "orders/tests"):
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


def run(project: Path, *arguments: str) -> str:
    """Return the output of `python -m …` in the project; fail the test if it fails."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{project}",
        "DJANGO_SETTINGS_MODULE": "settings",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *arguments],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def count_of(*paths: str) -> int:
    return sum(len(re.findall(r"^\s*(?:async )?def test_", FILES[path], re.M)) for path in paths)


PLUGIN = "eric_sse_django.pytest_plugin"
CASES = ("orders/tests/test_views.py", "orders/tests/test_browser.py")
MODULES = [path.removesuffix(".py").replace("/", ".") for path in CASES]
FUNCTIONS = ("orders/tests/test_with_pytest.py",)


def test_the_page_has_the_files_that_are_tested():
    assert {*CASES, *FUNCTIONS, "orders/views.py", "settings.py"} <= FILES.keys()
    assert len(FILES) == PAGE.count("```") // 2  # every block is a file


@on("sqlite", "postgres")
def test_djangos_runner_runs_the_cases(project, chromium):
    output = run(project, "django", "test", *MODULES)
    assert f"Ran {count_of(*CASES)} tests" in output
    assert "OK" in output
    assert "failed" not in output  # no error in a thread of the app
    assert "Destroying test database" in output


@on("sqlite", "postgres")
def test_djangos_runner_runs_the_cases_in_parallel(project, chromium):
    output = run(project, "django", "test", "--parallel", "2", *MODULES)
    assert f"Ran {count_of(*CASES)} tests" in output
    assert "failed" not in output


@on("sqlite")
def test_without_the_settings_all_but_the_browser_runs_in_memory(project):
    settings = project / "settings.py"
    settings.write_text(settings.read_text().replace(FILES["settings.py"], ""))
    assert "OK" in run(project, "django", "test", MODULES[0])


@on("sqlite", "postgres")
def test_pytest_runs_all_tests(project, chromium):
    # Named here for an installation that was made before the package had the plugin.
    plugins = ("-p", PLUGIN, "-p", "no:randomly", "-p", "no:cacheprovider")
    output = run(project, "pytest", "-q", *plugins, "orders")
    assert f"{count_of(*CASES, *FUNCTIONS)} passed" in output
    assert "warning" not in output
