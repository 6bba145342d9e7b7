"""The gates: style, spelling, types, layers, migrations and system checks are tests."""

import ast
import configparser
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LIMIT_S = 300.0
pytestmark = [pytest.mark.gate, pytest.mark.timeout(LIMIT_S)]

# Of a function, with its docstring.
MAX_LINES = 40

# Of the lines and branches of the core, at least; the rest is for the tests with a database.
CORE_COVERED_PERCENT = 88

needs_stubs = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="django-stubs needs Python 3.11 or newer"
)


def run(*arguments: str, program: str = sys.executable, **environment: str) -> None:
    """Run a program in the checkout. Fails with its output; waits at most LIMIT_S."""
    # pytest-django puts its own settings there; manage.py must use the project's.
    inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [program, *arguments],
        cwd=ROOT,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing():
    run("-m", "ruff", "check", ".")


def test_every_file_is_formatted():
    # Also the Python blocks of the Markdown pages.
    run("-m", "ruff", "format", "--check", ".")


def test_every_word_is_spelled_right():
    # typos has no `python -m`: pip installs a program in the folder of python.
    run("--format", "brief", ".", program=f"{sysconfig.get_path('scripts')}/typos")


@needs_stubs
def test_mypy_finds_nothing():
    run("-m", "mypy")


@needs_stubs
def test_the_types_in_a_projects_code_are_correct_for_pyright_too():
    # Django's model fields have a type only by mypy's plugin: hence its one rule that is off.
    run("-m", "basedpyright", "-p", "tests/typing", "--pythonpath", sys.executable)


def test_imports_only_point_down():
    # lint-imports has no `python -m`; this is what its script calls.
    run("-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache")


def test_no_query_names_the_logs_database():
    """The models' manager uses it by itself; a few queries are of others' models."""
    of_others = {"authorization/events.py", "database/configured.py", "models/users.py"}
    package = ROOT / "eric_sse_django"
    named = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if ".using(" in path.read_text() and "migrations" not in path.parts
    }
    assert named == of_others


def test_only_the_dialect_compares_the_vendor():
    package = ROOT / "eric_sse_django"
    asking = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "vendor" in path.read_text() and "migrations" not in path.parts
    }
    assert asking == {"log/dialect.py"}


def test_no_function_has_more_than_40_lines():
    long = []
    for folder in ("eric_sse_django", "benchmarks", "demo_project"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    if lines > MAX_LINES:
                        long.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    assert long == []


def test_no_migration_is_missing():
    run(
        *("-m", "django", "makemigrations", "--check", "--dry-run"),
        DJANGO_SETTINGS_MODULE="tests.settings",
        ERIC_SSE_TEST_DB="sqlite:::memory:",
        PYTHONPATH=str(ROOT),
    )


def test_the_system_checks_find_nothing():
    run("manage.py", "check", "--fail-level", "WARNING")


def test_the_tests_of_the_core_cover_it(tmp_path):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    core = setup["importlinter:contract:core"]["source_modules"].split()
    files = ",".join(f"{name.replace('.', '/')}.py" for name in core)
    coverage = {"COVERAGE_FILE": str(tmp_path / "coverage")}
    arguments = ("-q", "-p", "no:cacheprovider", "-n", "0", "tests/core")
    run("-m", "coverage", "run", "--branch", "-m", "pytest", *arguments, **coverage)
    floor = f"--fail-under={CORE_COVERED_PERCENT}"
    run("-m", "coverage", "report", floor, f"--include={files}", **coverage)
