"""The hub's watchdog: what hangs is replaced, streams that cannot be served end, all is logged."""

import asyncio
import threading
import time

import pytest

from eric_sse_django.consumers import base
from eric_sse_django.health import examine
from eric_sse_django.hub import Hub
from eric_sse_django.hub import hub as hub_module
from eric_sse_django.hub.hub import _hubs
from eric_sse_django.metrics import EricSseCollector
from tests.streams.asgi import answer

DEADLINE_S = 0.05
TIMEOUT_S = 10.0


@pytest.fixture
def released():
    released = threading.Event()
    yield released
    released.set()


@pytest.fixture
def short(monkeypatch, fast_ticks):
    for name in ("READ_DEADLINE_S", "CALL_DEADLINE_S"):
        monkeypatch.setattr(hub_module, name, DEADLINE_S)


def replaced():
    return {
        sample.labels["thread"]: sample.value
        for family in EricSseCollector().collect()
        for sample in family.samples
        if sample.name == "eric_sse_threads_replaced_total"
    }


async def until(condition):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


async def test_messages_are_delivered_though_the_look_for_them_hangs(
    site, short, released, monkeypatch, caplog
):
    reader = await site.read()
    await site.publish(1)
    await reader.count(1)
    await site.at_head()  # no other look has begun
    before = replaced().get("eric-sse-hub", 0)
    real, hung = site.log.look, threading.Event()

    def look(*args):
        if not hung.is_set():
            hung.set()
            released.wait(60)
        return real(*args)

    monkeypatch.setattr(site.log, "look", look)
    site.hub.wake()
    await until(hung.is_set)
    await site.publish(2)  # which is passed on: it waits for the look, as it may be in both
    assert await reader.count(2) == ["1", "2"]
    assert replaced()["eric-sse-hub"] == before + 1
    assert "another thread takes its place thread=eric-sse-hub" in caplog.text
    released.set()
    await until(lambda: site.hub.trouble() is None)


async def test_records_that_hang_delay_no_delivery_and_are_logged(
    site, short, released, monkeypatch
):
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(0)
    await reader.count(1)
    site.hub._thread.submit(0, released.wait, 60)
    for number in range(1, 6):
        await site.publish(number)
        await asyncio.wait_for(reader.count(number + 1), 1)
    await until(lambda: replaced().get("eric-sse-records"))


async def test_streams_end_while_the_log_cannot_be_read_and_so_do_new_ones(
    site, short, monkeypatch, caplog
):
    monkeypatch.setattr(hub_module, "AWAY_S", 0.05)
    reader = await site.read()
    before = await site.at_head()
    hub = site.hub

    def look(*args):
        raise OSError

    monkeypatch.setattr(site.log, "look", look)
    hub.wake()
    assert await reader.ended() == "database unavailable"
    assert reader.complete  # with a farewell
    assert reader.reader.retry_ms >= 3_000
    [health] = examine(["hub"])
    assert not health.works
    async with site.stream(last_event_id=before) as stream:
        assert stream.reason == "database unavailable"
    monkeypatch.undo()
    hub.wake()
    await until(lambda: not hub.is_away())
    await site.publish(1)
    assert await (await site.read(None, before)).count(1) == ["1"]


async def test_the_retry_grows_with_the_outage_up_to_a_bound(site, monkeypatch):
    hub = site.hub
    await hub.ready()
    assert hub.away_rest_s() == 0
    for lasts_s, rest_s in ((4.0, 4.0), (3_600.0, hub_module.MAX_AWAY_REST_S)):
        monkeypatch.setattr(hub.follower.outage, "lasts_s", lambda lasts_s=lasts_s: lasts_s)
        found = [hub.away_rest_s() for _ in range(50)]
        assert rest_s / 2 <= min(found) < max(found) <= rest_s


async def test_a_hub_whose_thread_is_busy_closes_within_its_bounds_and_without_an_error(
    site, released, monkeypatch, caplog
):
    monkeypatch.setattr(hub_module, "EXIT_WRITE_S", 0.05)
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(1)
    await reader.count(1)
    hub = site.hub
    threads = [*hub._reader._working, *hub._thread._working]
    hub._thread.submit(0, released.wait, 60)
    began = time.monotonic()
    await hub.close()
    assert time.monotonic() - began < 3
    released.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, TIMEOUT_S)
    assert hub._thread.ended.done()
    assert "InvalidState" not in caplog.text


async def test_a_request_in_the_turn_in_which_an_idle_hub_closes_gets_a_new_one(site, monkeypatch):
    hub = site.hub
    await hub.ready()
    monkeypatch.setattr(hub, "_is_idle", lambda now: True)
    hub._on_tick()
    assert _hubs.get(asyncio.get_running_loop()) is None
    assert site.hub is not hub
    reader = await site.read()
    await site.publish(1)
    assert await reader.count(1) == ["1"]


async def test_hooks_have_no_thread_before_their_first_call(site):
    await site.read()
    assert not site.hub.hooks._working
    assert not site.hub.adapters._working
    assert await site.hub.hooks.run(int) == 0
    assert len(site.hub.hooks._working) == 1


async def test_where_no_thread_can_be_started_clients_are_asked_to_retry(application, monkeypatch):
    """An exception while the hub is built would be a 500, which stops an EventSource."""

    def no_more(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(base, "OPEN_TIMEOUT_S", 0.1)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_more)
        response = await answer(application, "/events/?channel=orders")
    assert response.status == 200
    assert response.reader.retry_ms
    await Hub.close_all()
