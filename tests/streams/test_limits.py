"""Limits over open streams: who finds no seat, when there is one again, and who is told."""

import asyncio
import logging

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import OperationalError

from eric_sse_django import quiet
from eric_sse_django.authorization import make_ticket
from eric_sse_django.consumers import StreamConsumer, limits
from eric_sse_django.hub import Hub
from eric_sse_django.monitor import PATH
from eric_sse_django.routing import with_streams
from eric_sse_django.streaming import Stream
from tests.streams.asgi import TIMEOUT_S, Response, session_of

HERE = ("10.0.0.1", 40_000)


@pytest.fixture
def application(site):
    return with_streams(None)


@pytest.fixture(autouse=True)
def seats(monkeypatch):
    """Return the process's seats: none is taken, and no refusal was told of."""
    limits.seats.reset()
    yield limits.seats
    assert not limits.seats._taken


def watch():
    return f"/events/orders/?ticket={make_ticket('orders')}"


def opened(application, path=None, method="GET", **scope):
    """Return a request from one address, as a context manager."""
    return Response(application, path or watch(), method, **{"client": HERE, **scope})


async def is_put_off(application, path=None, **scope):
    """Whether a request gets no stream; it is told the long retry then."""
    async with opened(application, path, **scope) as response:
        assert response.status == 200
        if response.reader.retry_ms is None:
            await response.more()
        if b": ok" in response.body:
            return False
        await response.end()
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.events == []
        assert 30_000 <= response.reader.retry_ms <= 60_000
        return True


async def running(site, name, owner=None):
    listener = await site.channel.aadd_listener(owner, listener_id=name)
    await listener.astart()
    return listener


# In all ----------------------------------------------------------------------------------


async def test_who_comes_when_the_process_is_full_is_asked_to_come_much_later(
    application, site, settings
):
    settings.ERIC_SSE = {"MAX_STREAMS": 2}
    async with opened(application) as first, opened(application) as second:
        await second.more()
        assert await is_put_off(application)
        await site.publish(1)
        assert (await first.event()).data == (await second.event()).data == "1"
        await first.leave()
        assert not await is_put_off(application)
        async with opened(application) as third:
            await third.more()
            assert await is_put_off(application)
    assert not await is_put_off(application)


async def test_who_is_put_off_does_not_reach_the_database(application, settings, monkeypatch):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}
    async with opened(application) as response:
        await response.more()
        asked = []
        monkeypatch.setattr(StreamConsumer, "admit", lambda self, hub: asked.append(self))
        assert await is_put_off(application)
        assert asked == []


async def test_head_is_told_in_its_own_way(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}
    async with opened(application) as response:
        await response.more()
        async with opened(application, method="HEAD") as head:
            await head.end()
            assert (head.status, head.body) == (503, b"")
            assert 30 <= int(head.headers["retry-after"]) <= 60
        async with opened(application, method="OPTIONS") as options:
            assert (await options.end()).status == 204


async def test_all_loops_of_a_process_share_its_places(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}

    async def elsewhere():
        try:
            return await is_put_off(application)
        finally:
            await Hub.close_all()

    async with opened(application) as response:
        await response.more()
        assert await asyncio.to_thread(asyncio.run, elsewhere())
    assert not await asyncio.to_thread(asyncio.run, elsewhere())


async def test_a_page_of_an_allowed_origin_can_read_that_it_is_put_off(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 1, "ALLOWED_ORIGINS": ["https://shop.example"]}
    async with opened(application) as response:
        await response.more()
        headers = [(b"origin", b"https://shop.example")]
        async with opened(application, headers=headers) as other:
            await other.end()
            assert other.headers["access-control-allow-origin"] == "https://shop.example"
            assert other.reader.retry_ms >= 30_000


async def test_the_monitor_opens_when_the_process_is_full(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}
    root = await sync_to_async(get_user_model().objects.create_superuser)("root", password="")
    headers = [(b"cookie", await session_of(root))]
    async with opened(application) as response:
        await response.more()
        assert await is_put_off(application)
        async with opened(application, f"/events/{PATH}", headers=headers) as monitor:
            while b"snapshot" not in monitor.body:
                await monitor.more()


# For a user, from an address ---------------------------------------------------------------


async def test_a_user_has_so_many_and_others_have_theirs(application, site, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_USER": 1}
    make = sync_to_async(get_user_model().objects.create_user)
    ana, ben = await make("ana"), await make("ben")
    for name, owner in (("a", ana), ("b", ana), ("c", ben)):
        await running(site, name, owner)
    async with opened(application, "/events/orders/a/", user=ana) as response:
        await response.more()
        assert await is_put_off(application, "/events/orders/b/", user=ana)
        assert await is_put_off(application, "/events/orders/a/", user=ana)
        assert not await is_put_off(application, "/events/orders/c/", user=ben)
        assert not await is_put_off(application)
    assert not await is_put_off(application, "/events/orders/b/", user=ana)


async def test_an_address_has_so_many_and_others_have_theirs(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_ADDRESS": 1}
    async with opened(application) as response:
        await response.more()
        assert await is_put_off(application, client=("10.0.0.1", 9))
        assert await is_put_off(application, client=["::ffff:10.0.0.1", 9])
        assert not await is_put_off(application, client=("10.0.0.2", 9))


async def test_where_there_is_no_address_there_is_no_limit_to_it(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_ADDRESS": 1}
    for client in (None, ("", 0), ["", None]):
        async with opened(application, client=client) as response:
            await response.more()
            assert not await is_put_off(application, client=client)


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:DB8:1:2::", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("no:address", 1), "no:address"),
        (("unknown", 1), "unknown"),
        (("", 1), None),
        (None, None),
    ],
)
def test_an_address_of_ipv6_is_its_network(client, key):
    # Who has one address of IPv6 has 2^64 of them.
    assert limits.address_of({"client": client}) == key
    assert limits.address_of({}) is None


async def test_a_limit_of_none_is_no_limit(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_USER": None, "MAX_STREAMS_PER_ADDRESS": None}
    user = await sync_to_async(get_user_model().objects.create_user)("ana")
    async with opened(application, user=user) as one, opened(application, user=user) as other:
        await one.more()
        await other.more()
        assert b": ok" in one.body + other.body


# Given back, once -----------------------------------------------------------------------------


def has_place():
    return limits.seats.taken("MAX_STREAMS_PER_ADDRESS", HERE[0]) == 1


async def leaves(application, site, monkeypatch):
    async with opened(application) as response:
        await response.more()
        assert has_place()
        await response.leave()


async def fails(application, site, monkeypatch):
    async def serve(self, write, encode):
        raise ZeroDivisionError

    monkeypatch.setattr(Stream, "serve", serve)
    async with opened(application) as response:
        assert (await response.end()).status == 200


async def is_refused(application, site, monkeypatch):
    async with opened(application, "/events/orders/") as response:
        assert (await response.end()).status == 403


async def asks_for_the_head(application, site, monkeypatch):
    async with opened(application, method="HEAD") as response:
        assert (await response.end()).status == 200


async def finds_no_database(application, site, monkeypatch):
    async def away(self, hub):
        raise OperationalError("gone")

    monkeypatch.setattr(StreamConsumer, "admit", away)
    async with opened(application) as response:
        await response.end()


async def is_cancelled(application, site, monkeypatch):
    response = opened(application)
    await response.send({"type": "http.request"})
    await response.more()
    response._communicator.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await response._communicator.future


async def is_cancelled_on_the_way_in(application, site, monkeypatch):
    asked = asyncio.Event()

    async def hang(self, hub):
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(StreamConsumer, "admit", hang)
    response = opened(application)
    await response.send({"type": "http.request"})
    await asyncio.wait_for(asked.wait(), TIMEOUT_S)
    assert has_place()
    response._communicator.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await response._communicator.future


async def is_gone_before_it_is_let_in(application, site, monkeypatch):
    response = opened(application)
    await response.send({"type": "http.request"})
    await response.send({"type": "http.disconnect"})
    await response._communicator.wait(TIMEOUT_S)


async def cannot_be_written_to(application, site, monkeypatch):
    async def receive():
        return {"type": "http.request"}

    async def send(message):
        raise OSError("the client is gone")

    await asyncio.wait_for(application(opened(application).scope, receive, send), TIMEOUT_S)


WAYS = [
    leaves,
    fails,
    is_refused,
    asks_for_the_head,
    finds_no_database,
    is_cancelled,
    is_cancelled_on_the_way_in,
    is_gone_before_it_is_let_in,
    cannot_be_written_to,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_place_is_given_back_once_however_it_ends(
    application, site, seats, monkeypatch, settings, way
):
    async with opened(application, client=("10.0.0.2", 1)) as other:
        await other.more()
        await way(application, site, monkeypatch)
        # Neither kept, nor given back twice: the other has its own.
        assert seats.taken("MAX_STREAMS") == 1
        assert seats.taken("MAX_STREAMS_PER_ADDRESS", "10.0.0.1") == 0


async def test_a_place_that_a_user_did_not_get_costs_the_others_none(
    application, site, settings, seats
):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_USER": 1}
    user = await sync_to_async(get_user_model().objects.create_user)("ana")
    await running(site, "a", user)
    async with opened(application, "/events/orders/a/", user=user) as response:
        await response.more()
        assert await is_put_off(application, "/events/orders/a/", user=user)
        assert seats.taken("MAX_STREAMS") == 1
        assert seats.taken("MAX_STREAMS_PER_USER", str(user.pk)) == 1


# What the operator reads ---------------------------------------------------------------------


def told(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_limit_that_begins_to_bind_is_told_once(settings, seats, caplog, monkeypatch):
    settings.ERIC_SSE = {"MAX_STREAMS": 1, "MAX_STREAMS_PER_ADDRESS": 0}

    def try_in_vain(setting, key=""):
        with pytest.raises(limits.Full):
            seats.take(setting, key)

    seats.take("MAX_STREAMS", "")
    for _ in range(3):
        try_in_vain("MAX_STREAMS")
    assert len(told(caplog)) == 1
    assert "setting=MAX_STREAMS limit=1" in told(caplog)[0]
    for address in ("10.0.0.1", "10.0.0.2"):
        try_in_vain("MAX_STREAMS_PER_ADDRESS", address)
    assert "setting=MAX_STREAMS_PER_ADDRESS limit=0 key='10.0.0.1'" in told(caplog)[1]
    assert len(told(caplog)) == 2
    monkeypatch.setattr(quiet, "QUIET_S", -1.0)  # nobody came for so long
    try_in_vain("MAX_STREAMS")
    assert len(told(caplog)) == 3
    seats.give_back("MAX_STREAMS", "")
