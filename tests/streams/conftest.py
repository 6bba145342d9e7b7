"""Fixtures of the streams' tests: a channel and its readers, on a fast timer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.routing import with_streams
from tests.streams.asgi import inner
from tests.streams.reading import Site


@pytest.fixture
async def site(transactional_db: None) -> AsyncIterator[Site]:
    """Return a Site with the channel "orders", on SQLite."""
    site = Site(await DatabaseChannel.acreate("orders"))
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
