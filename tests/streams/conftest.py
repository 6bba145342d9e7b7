"""Fixtures of the streams' tests: a channel with its readers, and a fast timer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.routing import with_streams
from eric_sse_django.streaming import stream
from tests.streams.asgi import inner
from tests.streams.memory import MemorySite
from tests.streams.reading import Site


@pytest.fixture
async def site(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """
    Return a Site with the channel "orders", in memory.

    In a database if the test uses one: by the fixture `database`, `transactional_db` or one that
    uses these, or by a mark.
    """
    site: Site
    if "database" in request.fixturenames:
        request.getfixturevalue("database")
    if "transactional_db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        site = Site(await DatabaseChannel.acreate("orders"))
    else:
        site = MemorySite("orders")
        monkeypatch.setattr(stream, "_all_run", site.all_run)
    yield site
    await site.close()


@pytest.fixture
def fast_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hubs do each 10 ms what they do each second."""
    monkeypatch.setattr("eric_sse_django.hub.hub.TICK_S", 0.01)


@pytest.fixture
def application(transactional_db: None) -> Any:
    """Return the project's application with streams."""
    return with_streams(inner)
