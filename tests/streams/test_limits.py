"""Limits for open streams: when they are reached, when there are seats again, what is logged."""

import asyncio
import logging

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import OperationalError

from eric_sse_django import outage
from eric_sse_django.authorization import make_ticket
from eric_sse_django.consumers import StreamConsumer, limits
from eric_sse_django.hub import Hub
from eric_sse_django.monitor import PATH
from eric_sse_django.routing import with_streams
from eric_sse_django.streaming import Stream
from tests.streams.asgi import TIMEOUT_S, Response, session_of

HERE = ("10.0.0.1", 40_000)


@pytest.fixture
def application(transactional_db, site):
    return with_streams(None)


@pytest.fixture(autouse=True)
def seats(monkeypatch):
    """Return the process's seats: none is taken, and no refusal was logged."""
    limits.seats.reset()
    yield limits.seats
    assert not limits.seats._taken


def watch():
    return f"/events/orders/?ticket={make_ticket('orders')}"


def opened(application, path=None, method="GET", **scope):
    """Return a request from one address, as a context manager."""
    return Response(application, path or watch(), method, **{"client": HERE, **scope})


async def is_asked_to_retry(application, path=None, **scope):
    """Return whether a request gets no stream, with the long retry."""
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


async def test_over_the_limit_a_client_is_asked_to_retry_much_later(application, site, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 2}
    async with opened(application) as first, opened(application) as second:
        await second.more()
        assert await is_asked_to_retry(application)
        await site.publish(1)
        assert (await first.event()).data == (await second.event()).data == "1"
        await first.leave()
        assert not await is_asked_to_retry(application)
        async with opened(application) as third:
            await third.more()
            assert await is_asked_to_retry(application)
    assert not await is_asked_to_retry(application)


async def test_a_client_over_the_limit_costs_no_query(application, settings, monkeypatch):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}
    async with opened(application) as response:
        await response.more()
        asked = []
        monkeypatch.setattr(StreamConsumer, "admit", lambda self, hub, seat: asked.append(self))
        assert await is_asked_to_retry(application)
        assert asked == []


async def test_over_the_limit_head_gets_a_503(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}
    async with opened(application) as response:
        await response.more()
        async with opened(application, method="HEAD") as head:
            await head.end()
            assert (head.status, head.body) == (503, b"")
            assert 30 <= int(head.headers["retry-after"]) <= 60
        async with opened(application, method="OPTIONS") as options:
            assert (await options.end()).status == 204


async def test_all_loops_of_a_process_share_its_seats(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}

    async def elsewhere():
        try:
            return await is_asked_to_retry(application)
        finally:
            await Hub.close_all()

    async with opened(application) as response:
        await response.more()
        assert await asyncio.to_thread(asyncio.run, elsewhere())
    assert not await asyncio.to_thread(asyncio.run, elsewhere())


async def test_a_page_of_an_allowed_origin_can_read_that_it_is_asked_to_retry(
    application, settings
):
    settings.ERIC_SSE = {"MAX_STREAMS": 1, "ALLOWED_ORIGINS": ["https://shop.example"]}
    async with opened(application) as response:
        await response.more()
        headers = [(b"origin", b"https://shop.example")]
        async with opened(application, headers=headers) as other:
            await other.end()
            assert other.headers["access-control-allow-origin"] == "https://shop.example"
            assert other.reader.retry_ms >= 30_000


async def test_the_monitor_opens_when_the_limit_is_reached(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS": 1}
    root = await sync_to_async(get_user_model().objects.create_superuser)("root", password="")
    headers = [(b"cookie", await session_of(root))]
    async with opened(application) as response:
        await response.more()
        assert await is_asked_to_retry(application)
        async with opened(application, f"/events/{PATH}", headers=headers) as monitor:
            while b"snapshot" not in monitor.body:
                await monitor.more()


# For a user, from an address ---------------------------------------------------------------


async def test_each_user_has_separate_seats(application, site, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_USER": 1}
    make = sync_to_async(get_user_model().objects.create_user)
    ana, ben = await make("ana"), await make("ben")
    for name, owner in (("a", ana), ("b", ana), ("c", ben)):
        await running(site, name, owner)
    async with opened(application, "/events/orders/a/", user=ana) as response:
        await response.more()
        assert await is_asked_to_retry(application, "/events/orders/b/", user=ana)
        assert await is_asked_to_retry(application, "/events/orders/a/", user=ana)
        assert not await is_asked_to_retry(application, "/events/orders/c/", user=ben)
        assert not await is_asked_to_retry(application)
    assert not await is_asked_to_retry(application, "/events/orders/b/", user=ana)


async def test_each_address_has_separate_seats(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_ADDRESS": 1}
    async with opened(application) as response:
        await response.more()
        assert await is_asked_to_retry(application, client=("10.0.0.1", 9))
        assert await is_asked_to_retry(application, client=["::ffff:10.0.0.1", 9])
        assert not await is_asked_to_retry(application, client=("10.0.0.2", 9))


async def test_without_an_address_its_limit_does_not_apply(application, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_ADDRESS": 1}
    for client in (None, ("", 0), ["", None]):
        async with opened(application, client=client) as response:
            await response.more()
            assert not await is_asked_to_retry(application, client=client)


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
    # A client with one IPv6 address has 2^64 of them.
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


def has_seat():
    return limits.seats.taken("MAX_STREAMS_PER_ADDRESS", HERE[0]) == 1


async def leaves(application, site, monkeypatch):
    async with opened(application) as response:
        await response.more()
        assert has_seat()
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
    async def away(self, hub, seat):
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


async def is_cancelled_during_admission(application, site, monkeypatch):
    asked = asyncio.Event()

    async def hang(self, hub, seat):
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(StreamConsumer, "admit", hang)
    response = opened(application)
    await response.send({"type": "http.request"})
    await asyncio.wait_for(asked.wait(), TIMEOUT_S)
    assert has_seat()
    response._communicator.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await response._communicator.future


async def disconnects_before_admission(application, site, monkeypatch):
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
    is_cancelled_during_admission,
    disconnects_before_admission,
    cannot_be_written_to,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_seat_is_given_back_once_however_the_stream_ends(
    application, site, seats, monkeypatch, settings, way
):
    async with opened(application, client=("10.0.0.2", 1)) as other:
        await other.more()
        await way(application, site, monkeypatch)
        # Neither kept nor given back twice: the other stream has its seat.
        assert seats.taken("MAX_STREAMS") == 1
        assert seats.taken("MAX_STREAMS_PER_ADDRESS", "10.0.0.1") == 0


async def test_a_request_over_the_users_limit_gives_back_its_other_seats(
    application, site, settings, seats
):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_USER": 1}
    user = await sync_to_async(get_user_model().objects.create_user)("ana")
    await running(site, "a", user)
    async with opened(application, "/events/orders/a/", user=user) as response:
        await response.more()
        assert await is_asked_to_retry(application, "/events/orders/a/", user=user)
        assert seats.taken("MAX_STREAMS") == 1
        assert seats.taken("MAX_STREAMS_PER_USER", str(user.pk)) == 1


# The log -----------------------------------------------------------------------------


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_limit_that_is_reached_is_logged_once(settings, seats, caplog, monkeypatch):
    settings.ERIC_SSE = {"MAX_STREAMS": 1, "MAX_STREAMS_PER_ADDRESS": 0}

    def try_to_take(setting, key=""):
        with pytest.raises(limits.Full):
            seats.take(setting, key)

    seats.take("MAX_STREAMS", "")
    for _ in range(3):
        try_to_take("MAX_STREAMS")
    assert len(warnings(caplog)) == 1
    assert "setting=MAX_STREAMS limit=1" in warnings(caplog)[0]
    for address in ("10.0.0.1", "10.0.0.2"):
        try_to_take("MAX_STREAMS_PER_ADDRESS", address)
    assert "setting=MAX_STREAMS_PER_ADDRESS limit=0 key='10.0.0.1'" in warnings(caplog)[1]
    assert len(warnings(caplog)) == 2
    monkeypatch.setattr(outage, "QUIET_S", -1.0)  # no client came for so long
    try_to_take("MAX_STREAMS")
    assert len(warnings(caplog)) == 3
    seats.give_back("MAX_STREAMS", "")
