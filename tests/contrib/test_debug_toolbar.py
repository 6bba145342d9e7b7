"""The panel of django-debug-toolbar: what a request has published, and by which queries."""

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client

from eric_sse_django import instruments
from eric_sse_django.contrib import debug_toolbar as contrib
from eric_sse_django.contrib.debug_toolbar import PublishedPanel
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.shortcuts import publish
from tests.databases import sqlite_only

pytestmark = sqlite_only

PANEL = "eric_sse_django.contrib.debug_toolbar.PublishedPanel"


@pytest.fixture(autouse=True)
def toolbar(settings, database):
    before = instruments.makers
    settings.ROOT_URLCONF = "tests.contrib.debug_urls"
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    settings.MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware", *settings.MIDDLEWARE]
    settings.DEBUG_TOOLBAR_PANELS = [PANEL]
    settings.DEBUG_TOOLBAR_CONFIG = {"SHOW_TOOLBAR_CALLBACK": lambda request: True}
    settings.ALLOWED_HOSTS = ["testserver"]
    DatabaseChannel.create("orders")
    PublishedPanel.ready()
    PublishedPanel.ready()
    yield
    assert instruments.makers.count(contrib._record) == 1
    instruments.makers = before


def stats():
    """Return what the panel has kept of the only request, and its page."""
    from debug_toolbar.store import get_store  # its models need INSTALLED_APPS

    store = get_store()
    [request_id] = list(store.request_ids())
    found = store.panel(request_id, "PublishedPanel")
    response = Client().get(
        "/__debug__/render_panel/", {"request_id": request_id, "panel_id": "PublishedPanel"}
    )
    store.clear()
    return found, response.json()["content"]


def test_it_shows_what_was_published_to_which_channel_and_the_queries():
    response = Client().get("/pay/")
    assert "Server-Sent Events" in response.content.decode()
    found, page = stats()
    assert (found["count"], found["channels"]) == (3, ["orders"])
    one, two = found["calls"]
    assert [message["type"] for call in (one, two) for message in call["messages"]] == [
        *("paid", "a", "b")
    ]
    assert one["messages"][0]["all"]
    assert one["messages"][0]["bytes"] > 1_000
    assert any("INSERT" in query["sql"] for query in one["queries"])
    assert "xxx" not in str(one["queries"])
    assert not one["failed"]
    assert found["queries"] == len(one["queries"]) + len(two["queries"])
    for text in ("orders", "paid", "INSERT INTO", "3 messages"):
        assert text in page


async def test_an_async_view_is_recorded_too():
    await AsyncClient().get("/apay/")
    found, _ = await sync_to_async(stats)()
    assert (found["count"], found["channels"]) == (1, ["orders"])


def test_what_is_published_without_a_request_is_not_recorded(monkeypatch):
    Client().get("/pay/")
    publish("orders", "elsewhere")
    found, _ = stats()
    assert found["count"] == 3


def test_a_request_that_publishes_nothing_has_an_empty_panel():
    Client().get("/api/")
    found, page = stats()
    assert found["count"] == 0
    assert "published nothing" in page
