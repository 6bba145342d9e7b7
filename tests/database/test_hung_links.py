"""The notifier continues after a database connection broke without a FIN."""

import asyncio
import sys
import threading

import pytest
from django.db import connections

from eric_sse_django import log, notifier
from tests.contract import count
from tests.database.tools import PATIENCE_S, entries
from tests.databases import on
from tests.faults.proxy import Proxy
from tests.server import until


class Link:
    """A proxy in front of the database server, with its own event loop. A context manager."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.proxy = Proxy(port)

    def __enter__(self) -> "Link":
        self._thread.start()
        self._run(self.proxy.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self.proxy.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def hold(self) -> None:
        async def hold() -> None:
            self.proxy.hold()

        self._run(hold())

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)


@pytest.fixture
def link(database, monkeypatch):
    """Open new connections through a link, until it is held."""
    settings = connections.settings[database]
    direct = settings["PORT"]
    with Link(int(direct)) as link:
        monkeypatch.setitem(settings, "PORT", str(link.proxy.port))
        link.end = lambda: (link.hold(), monkeypatch.setitem(settings, "PORT", direct))
        yield link


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    module = sys.modules["eric_sse_django.notifier.notifier"]
    monkeypatch.setattr(module, "STUCK_S", 2.0)
    monkeypatch.setattr(module, "WATCH_S", 0.1)


@on("postgres", "mariadb")
def test_messages_published_while_the_link_hangs_get_positions(database, channel, link, caplog):
    channel.broadcast(count(1))  # of this thread the connection is direct
    assert notifier.flush(PATIENCE_S)
    link.end()
    before = threading.active_count()
    channel.broadcast(count(2))
    channel.broadcast(count(3))
    assert notifier.flush(PATIENCE_S)
    assert not log.pending().exists()
    assert [entry.payload for entry in entries()] == ["1", "2", "3"]
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1  # logged once
    # The pass that was planned for the thread that hung may still begin.
    assert until(lambda: notifier.current().trouble() is None, PATIENCE_S)
    assert notifier.current().replaced["eric-sse-notifier"] >= 1
    # Its connection was cut, so the call that hung failed, and its thread ended.
    for thread in threading.enumerate():
        if thread.name == "eric-sse-notifier" and thread.is_given_up:
            thread.join(PATIENCE_S)
    assert threading.active_count() <= before + 1  # the thread that took its place
