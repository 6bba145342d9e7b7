"""LiveStreamTestCase and eric_live_server: a real ASGI server on a thread."""

import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured

from eric_sse_django.log import dialect as dialect_module
from eric_sse_django.models import Channel, OpenStream
from eric_sse_django.shortcuts import apublish, stream_url, watch_url
from eric_sse_django.testing import LiveStreamTestCase, live, make_listener
from tests.client import StreamClient


class LiveTest(LiveStreamTestCase):
    """The tables are emptied after each test, and the server stays."""

    def read(self, url, *payloads):
        async def reading():
            async with await StreamClient.open(self.live_server_url + url) as client:
                await client.until_body_has(b"retry:")
                for payload in payloads:
                    await apublish("orders", "n", payload)
                return [event.json() for event in await client.events(len(payloads))]

        return asyncio.run(reading())

    def test_a_stream_over_a_socket(self):
        assert Channel.objects.count() == 0
        listener = make_listener("orders")
        assert self.read(stream_url(listener, ticket=True), 1, 2) == [1, 2]

    def test_another_with_empty_tables(self):
        assert Channel.objects.count() == OpenStream.objects.count() == 0
        make_listener("orders")
        assert self.read(watch_url("orders"), 3) == [3]


def test_the_fixture_serves_pages_and_static_files(eric_live_server, page_of):
    assert "Django" in page_of(f"{eric_live_server}/admin/login/")
    assert "{" in page_of(f"{eric_live_server}/static/admin/css/base.css")


@pytest.fixture
def page_of():
    from urllib.request import urlopen

    def get(url):
        with urlopen(url, timeout=5) as response:
            return response.read().decode()

    return get


def test_a_database_in_memory_is_refused(db, monkeypatch):
    monkeypatch.setattr(dialect_module.Dialect, "is_in_memory", True)
    for each in dialect_module.DIALECTS.values():
        monkeypatch.setattr(each, "is_in_memory", True)
    with pytest.raises(ImproperlyConfigured, match="store the test database in a file"):
        live.LiveServer().serve(None)
