"""Signals end the streams first, then call the handlers that were set before."""

import asyncio
import signal

import pytest

from eric_sse_django import shutdown


@pytest.fixture
def received(monkeypatch):
    """Handle SIGTERM in the test, before the app does. Returns the signals received."""
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    interrupt = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(shutdown, "_installed", False)
    monkeypatch.setattr(shutdown, "BYTES_LEAVE_S", 0.01)
    yield received
    signal.signal(signal.SIGTERM, before)
    signal.signal(signal.SIGINT, interrupt)


async def settled(condition):
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen in 2 s")


async def test_a_signal_ends_the_streams_and_then_the_server(site, received):
    listener = await site.listener()
    reader = await site.read(listener)
    shutdown.install()
    signal.raise_signal(signal.SIGTERM)
    assert received == []
    assert await reader.ended() == "draining"
    await settled(lambda: received == [signal.SIGTERM])


async def test_without_streams_the_server_gets_the_signal_at_once(received):
    shutdown.install()
    signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]


async def write_without_end(site):
    """Open a stream whose client stops reading during a message."""
    reader = await site.read(await site.listener())
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    await site.publish(1)
    await reader.count(1)


async def test_a_second_signal_is_passed_on_at_once(site, received):
    await write_without_end(site)
    shutdown.install()
    signal.raise_signal(signal.SIGTERM)
    assert received == []
    signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]


async def test_a_stream_that_does_not_end_delays_the_signal_briefly(site, received, monkeypatch):
    monkeypatch.setattr(shutdown, "STREAMS_END_S", 0.01)
    await write_without_end(site)
    shutdown.install()
    signal.raise_signal(signal.SIGTERM)
    await settled(lambda: received == [signal.SIGTERM])


async def test_the_setting_leaves_signals_to_the_project(received, settings):
    settings.ERIC_SSE = {"HANDLE_SIGNALS": False}
    before = signal.getsignal(signal.SIGTERM)
    shutdown.install()
    assert signal.getsignal(signal.SIGTERM) is before


async def test_only_the_main_thread_installs_and_only_once(received):
    before = signal.getsignal(signal.SIGTERM)
    await asyncio.to_thread(shutdown.install)
    assert signal.getsignal(signal.SIGTERM) is before
    shutdown.install()
    ours = signal.getsignal(signal.SIGTERM)
    assert ours is not before
    shutdown.install()
    assert signal.getsignal(signal.SIGTERM) is ours


async def test_a_server_that_stops_without_a_signal_ends_its_streams(site, monkeypatch):
    monkeypatch.setattr(shutdown, "STOP_CHECK_S", 0.01)
    stops, searches = [], []

    def find():
        searches.append(1)
        return lambda: bool(stops)

    reader = await site.read(await site.listener())
    for _ in range(3):
        shutdown.watch(find)
    await reader.until(lambda: reader.chunks)
    assert len(searches) == 1  # once for all open streams
    stops.append(1)
    assert await reader.ended() == "draining"
    assert asyncio.get_running_loop() not in shutdown._watched


async def test_a_stop_after_a_signal_is_not_logged_as_one_without(
    site, received, monkeypatch, caplog
):
    caplog.set_level("INFO", logger="eric_sse_django.shutdown")
    monkeypatch.setattr(shutdown, "STOP_CHECK_S", 0.01)
    reader = await site.read(await site.listener())
    shutdown.install()
    shutdown.watch(lambda: lambda: bool(received))
    signal.raise_signal(signal.SIGTERM)
    assert await reader.ended() == "draining"
    await settled(lambda: asyncio.get_running_loop() not in shutdown._watched)
    assert received == [signal.SIGTERM]
    assert caplog.messages == []


async def test_no_server_is_watched_where_the_project_calls_drain(site, settings):
    settings.ERIC_SSE = {"HANDLE_SIGNALS": False}
    shutdown.watch(lambda: pytest.fail("the server was searched for"))
    settings.ERIC_SSE = {}
    shutdown.watch(lambda: None)
    assert asyncio.get_running_loop() not in shutdown._watched


async def test_a_server_that_was_not_found_is_not_searched_for_by_each_stream(monkeypatch):
    """On uvicorn that searches all tasks: each of 20,000 streams would read 20,000."""
    searches = []
    for _ in range(3):
        shutdown.watch(lambda: searches.append(1))
    assert len(searches) == 1
    monkeypatch.setattr(shutdown, "SEARCH_AGAIN_S", 0.0)
    shutdown._search_at.clear()
    for _ in range(2):
        shutdown.watch(lambda: searches.append(1))
    assert len(searches) == 3
