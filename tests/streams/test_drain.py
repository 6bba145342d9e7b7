"""Signals drain the streams first, and then reach who had asked for them."""

import asyncio
import signal

import pytest

from eric_sse_django import drain


@pytest.fixture
def heard(monkeypatch):
    """Have SIGTERM heard by the test, with ours not installed. Returns what was heard."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    interrupt = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(drain, "_installed", False)
    monkeypatch.setattr(drain, "BYTES_LEAVE_S", 0.01)
    yield heard
    signal.signal(signal.SIGTERM, before)
    signal.signal(signal.SIGINT, interrupt)


async def settled(condition):
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen in 2 s")


async def test_a_signal_ends_the_streams_and_then_the_server(site, heard):
    listener = await site.listener()
    reader = await site.read(listener)
    drain.install()
    signal.raise_signal(signal.SIGTERM)
    assert heard == []
    assert await reader.ended() == "draining"
    await settled(lambda: heard == [signal.SIGTERM])


async def test_without_streams_the_server_hears_at_once(heard, transactional_db):
    drain.install()
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


async def test_a_second_signal_is_not_held_back(site, heard):
    reader = await site.read(await site.listener())
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    await site.publish(1)
    await reader.count(1)
    drain.install()
    signal.raise_signal(signal.SIGTERM)
    assert heard == []
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


async def test_a_stream_that_does_not_end_is_not_waited_for_for_ever(site, heard, monkeypatch):
    monkeypatch.setattr(drain, "STREAMS_END_S", 0.01)
    reader = await site.read(await site.listener())
    await reader.until(lambda: reader.chunks)
    reader.open.clear()
    await site.publish(1)
    await reader.count(1)
    drain.install()
    signal.raise_signal(signal.SIGTERM)
    await settled(lambda: heard == [signal.SIGTERM])


async def test_signals_can_be_left_to_the_project(heard, settings):
    settings.ERIC_SSE = {"HANDLE_SIGNALS": False}
    before = signal.getsignal(signal.SIGTERM)
    drain.install()
    assert signal.getsignal(signal.SIGTERM) is before


async def test_only_the_main_thread_installs_and_only_once(heard):
    before = signal.getsignal(signal.SIGTERM)
    await asyncio.to_thread(drain.install)
    assert signal.getsignal(signal.SIGTERM) is before
    drain.install()
    ours = signal.getsignal(signal.SIGTERM)
    assert ours is not before
    drain.install()
    assert signal.getsignal(signal.SIGTERM) is ours


async def test_a_server_that_stops_by_itself_ends_its_streams(site, monkeypatch):
    monkeypatch.setattr(drain, "LOOK_S", 0.01)
    stops, asked = [], []

    def find():
        asked.append(1)
        return lambda: bool(stops)

    reader = await site.read(await site.listener())
    for _ in range(3):
        drain.watch(find)
    await reader.until(lambda: reader.chunks)
    assert len(asked) == 1  # once for all the streams that are open
    stops.append(1)
    assert await reader.ended() == "draining"
    assert asyncio.get_running_loop() not in drain._watched


async def test_nothing_is_watched_where_the_project_drains_by_itself(site, settings):
    settings.ERIC_SSE = {"HANDLE_SIGNALS": False}
    drain.watch(lambda: pytest.fail("looked for"))
    settings.ERIC_SSE = {}
    drain.watch(lambda: None)
    assert asyncio.get_running_loop() not in drain._watched


async def test_a_server_that_is_not_found_is_not_looked_for_by_each_stream(monkeypatch):
    """On uvicorn the search is among all tasks: of 20,000 streams each looked at 20,000."""
    asked = []
    for _ in range(3):
        drain.watch(lambda: asked.append(1))
    assert len(asked) == 1
    monkeypatch.setattr(drain, "AGAIN_S", 0.0)
    drain._in_vain.clear()
    for _ in range(2):
        drain.watch(lambda: asked.append(1))
    assert len(asked) == 3
