"""
The pytest plugin: fixtures for messages, streams and a server. pytest loads it by itself.

It is imported before Django is set up, so each fixture imports what it needs.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eric_sse_django.database import DatabaseChannel
    from eric_sse_django.testing import FakeClock, Published, StreamClient

# Seconds that closing connections may take, whose thread may be busy.
CLOSE_S = 10.0


@pytest.hookimpl(hookwrapper=True)  # not wrapper=True, which pytest 7.0 does not have
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """End the app's threads before pytest-django removes the test databases."""
    yield
    if fixturedef.argname == "django_db_setup":
        fixturedef.addfinalizer(_close_all)


def _close_all() -> None:
    if not _is_used():
        return
    from asgiref.sync import SyncToAsync
    from django.db import connections

    from eric_sse_django.testing import close_all

    close_all()
    # Of the thread that runs the queries of coroutines, which ends with the process.
    executor = SyncToAsync.single_thread_executor
    executor.submit(connections.close_all).result(CLOSE_S)


def _is_used() -> bool:
    """Return whether these are the tests of a project that has installed the app."""
    registry = sys.modules.get("django.apps")
    if registry is None or not registry.apps.ready:
        return False
    return bool(registry.apps.is_installed("eric_sse_django"))


@pytest.fixture
def eric_channel(db: None) -> Callable[..., DatabaseChannel]:
    """Return a function that returns a channel by its id, which it creates if there is none."""
    from eric_sse_django.shortcuts import channel

    return channel


@pytest.fixture
def published(db: None) -> Callable[..., list[Published]]:
    """Return a function that returns the messages of a channel so far, or of all channels."""
    from eric_sse_django import testing

    return testing.published


@pytest.fixture
def eric_stream(db: None) -> Iterator[Callable[..., StreamClient]]:
    """
    Return a function that opens a stream of the project's application; all end with the test.

    It takes a URL, and the other arguments of StreamClient.
    """
    from eric_sse_django.testing import StreamClient

    with ExitStack() as stack:

        def open_stream(url: str, **options: Any) -> StreamClient:
            return stack.enter_context(StreamClient(url, **options))

        yield open_stream


@pytest.fixture
def eric_clock() -> Iterator[FakeClock]:
    """Return a clock that the test can advance."""
    from eric_sse_django.testing import fake_clock

    with fake_clock() as clock:
        yield clock


@pytest.fixture
def eric_live_server(transactional_db: None, settings: Any) -> Iterator[str]:
    """Return the URL of a server with pages and streams, on a thread."""
    from eric_sse_django.testing import live

    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, live.HOST]
    live.live_server.serve(live.with_static_files())
    yield live.live_server.url
    live.end()
