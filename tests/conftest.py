"""Fixtures of the whole suite: databases, servers, and the end of background work."""

import gc
import importlib
import inspect
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from django.test import TransactionTestCase

from tests import databases, emptying, parallel, servers
from tests.faults.scale import FULL, sized
from tests.patience import PATIENCE_MS
from tests.router import SelectedDatabaseRouter
from tests.server import Server

REQUIRE_ALL = "ERIC_SSE_TEST_REQUIRE_ALL"
# Seconds that a live test may take, with its fixtures; others have those of setup.cfg, and the
# longest their own mark (tests.faults.scale.LONG_S).
LIVE_S = sized(180, 3_600)
# What a page may take to show something: its own default of 5 s is short on a busy machine.


def missing(reason: str) -> NoReturn:
    """Skip the running test, or fail it where ERIC_SSE_TEST_REQUIRE_ALL=1. Never returns."""
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(f"{reason}, and {REQUIRE_ALL}=1 asks for everything", pytrace=False)
    pytest.skip(reason)


def database_of(item: pytest.Item) -> str | None:
    """Return the name of the database that the test was collected for, None for none."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("database")


def pytest_configure(config: pytest.Config) -> None:
    # `timeout 600 pytest` ends us with SIGTERM: end like Ctrl-C, so that servers end too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after tests/live/conftest.py
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        limit = item.get_closest_marker("timeout")
        if "ERIC_SSE_TEST_FUZZ" in os.environ:
            item.add_marker(pytest.mark.timeout(0))  # it is the number of runs, not the time
        elif limit is None and item.get_closest_marker("live") is not None:
            item.add_marker(pytest.mark.timeout(LIVE_S))
        mark = item.get_closest_marker("django_db")
        is_async = inspect.iscoroutinefunction(getattr(item, "obj", None))
        if is_async and mark is not None and not mark.kwargs.get("transaction"):
            raise pytest.UsageError(
                f"{item.nodeid} is async, so its queries run on another thread's connection, "
                "outside the transaction that would be rolled back: use transaction=True."
            )
        if item.get_closest_marker("slow") and not FULL:
            item.add_marker(pytest.mark.skip(reason="slow: set ERIC_SSE_FAULTS=full"))
        if database_of(item) is not None and mark is not None and "databases" not in mark.kwargs:
            raise pytest.UsageError(
                f"{item.nodeid} uses the fixture `database` and has its own django_db mark, "
                "which hides the fixture's: remove the mark."
            )

    items[:] = parallel.in_order(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # the time limit of a test begins with its turn
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not hasattr(item.config, "workerinput"):
        return (yield)
    shared = Path(item.config._tmp_path_factory.getbasetemp()).parent  # type: ignore[attr-defined]
    with parallel.turn(shared, item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_collection_finish() -> None:
    # 260,000 objects of imported modules stay to the end: visiting them again and again
    # was a tenth of the suite's work.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Before any fixture: pytest-django fails on an alias that settings do not have.
    name = database_of(item)
    reason = None if name is None else databases.absence(name)
    if reason is not None:
        missing(reason)


@pytest.fixture(scope="session")
def database_servers(request: pytest.FixtureRequest) -> Iterator[dict[str, servers.Server]]:
    """
    Return the running database servers, by the name of the database.

    Starts, side by side, those that a selected test needs; takes about 2 s when one does.
    """
    wanted = {databases.USERS, *map(database_of, request.session.items)}
    kinds = {"postgres": servers.Postgres, "mariadb": servers.MariaDB}
    running: dict[str, servers.Server] = {
        name: kind() for name, kind in kinds.items() if name in wanted and not kind.absence()
    }
    with ExitStack() as stack:
        for server in running.values():
            stack.callback(server.discard)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), running.values()))
        yield running


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
    database_servers: dict[str, servers.Server],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Set where Django finds the databases, just before pytest-django creates them."""
    # A file: the shared in-memory database locks whole tables and ignores the timeout.
    file = tmp_path_factory.mktemp("sqlite") / "test.sqlite3"
    connections.settings["default"]["TEST"]["NAME"] = str(file)
    for name, server in database_servers.items():
        connections.settings[databases.ALIASES[name]]["PORT"] = str(server.port)
    if databases.USERS == "sqlite":
        connections.settings["users"]["TEST"]["NAME"] = str(file.with_name("users.sqlite3"))
    elif databases.USERS is not None:
        connections.settings["users"]["PORT"] = str(database_servers[databases.USERS].port)


@pytest.fixture(scope="session", autouse=True)
def quick_emptying() -> Iterator[None]:
    """Empty the tables after a test in 1 to 2 ms; Django's command takes 5 to 60."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", emptying.empty_all)
        yield


def close_background() -> None:
    """
    End the package's notifier and hub threads, and all connections of other threads.

    Waits at most 10 s for the thread on which async tests run their queries.
    """
    try:
        testing = importlib.import_module("eric_sse_django.testing")
    except ModuleNotFoundError:
        testing = None
    close_all = getattr(testing, "close_all", None)
    if close_all is not None:
        close_all()
    # Else emptying the tables may wait for its locks, and dropping the database fails.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result(10)


@pytest.fixture(autouse=True)
def no_background_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """End background threads before the database is emptied, or given to the next test."""
    asked = [name for name in ("transactional_db", "db") if name in request.fixturenames]
    for name in asked:
        request.getfixturevalue(name)  # set up before us, so torn down after us
    yield
    if asked or request.node.get_closest_marker("django_db"):
        close_background()


@pytest.fixture(params=[databases.param(name, transaction=True) for name in databases.ALIASES])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """
    Run the test on SQLite, PostgreSQL and MariaDB. Returns the alias in use.

    Tables are empty again after the test. `tests.databases` has marks for fewer databases
    (sqlite_only, …) and for tests in a transaction that is rolled back (rolled_back).
    """
    SelectedDatabaseRouter.alias = databases.ALIASES.get(request.param, "default")
    yield SelectedDatabaseRouter.alias
    SelectedDatabaseRouter.alias = "default"


def running(kind: type[Server]) -> Iterator[Any]:
    """Yield a running server of a kind."""
    reason = kind.absence()
    if reason is not None:
        missing(reason)
    with kind() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Redis]:
    """Return a running Redis for the session; `.port` is what a test needs. 20 ms."""
    yield from running(servers.Redis)


@pytest.fixture(scope="session")
def nats_server() -> Iterator[servers.Nats]:
    """Return a running NATS for the session; `.url` is what a test needs. 30 ms."""
    yield from running(servers.Nats)


@pytest.fixture
def passed_on(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the segments that are passed on to hubs and other processes."""
    segments: list[Any] = []
    target = "eric_sse_django.notifier.Notifier.pass_on"
    monkeypatch.setattr(target, lambda self, segment: segments.append(segment))
    return segments


@pytest.fixture
def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    return servers.free_port()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the machine's Chromium; pages get PATIENCE_MS."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        missing("Chromium is not installed (on Debian: apt-get install chromium)")
    for api in ("playwright.sync_api", "playwright.async_api"):
        pytest.importorskip(api).expect.set_options(timeout=PATIENCE_MS)
    return str(Path(str(found)))


def pytest_report_header() -> list[str]:
    return [f"{name}: {databases.absence(name) or 'yes'}" for name in databases.ALIASES]
