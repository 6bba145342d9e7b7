"""What tests on a database need: a way out of coroutines, and the end of their hubs."""

import inspect
from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django import notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.log import inserting


@pytest.fixture
def call():
    async def call(function, *args):
        return await sync_to_async(function)(*args)

    return call


@pytest.fixture
async def hub_closes(database) -> AsyncIterator[None]:
    """Give the hub's thread and connection back while the test's loop still runs."""
    yield
    await Hub.close_all()


@pytest.fixture(autouse=True)
def no_hub_left(request):
    if inspect.iscoroutinefunction(request.function) and "database" in request.fixturenames:
        request.getfixturevalue("hub_closes")


@pytest.fixture
def channel(database):
    return DatabaseChannel.create("orders")


@pytest.fixture
def listener(channel):
    """Return a running listener of `channel`."""
    listener = channel.add_listener(listener_id="till-7")
    listener.start()
    return listener


@pytest.fixture
def no_notifier(monkeypatch):
    """Leave the sequencing to the test."""
    monkeypatch.setattr(notifier.Notifier, "start", lambda self: None)
    monkeypatch.setattr(notifier.Notifier, "_plan", lambda self: None)


@pytest.fixture(autouse=True)
def sequenced_later(monkeypatch):
    """Leave all messages to the sequencer: tests of inserting set this themselves."""
    monkeypatch.setattr(inserting, "APART_S", float("inf"))
