"""What each fabric promises: one suite for the layers of channels_redis and NATS."""

import asyncio
import contextlib
import os
import signal
import sys
import time

import pytest
from django.test import override_settings
from redis.exceptions import RedisError

from eric_sse_django import wakes
from eric_sse_django.wakes import receiver as receiving
from eric_sse_django.wakes.channels import ChannelsFabric
from eric_sse_django.wakes.fabric import Parcel, configured
from eric_sse_django.wakes.nats.protocol import Site
from tests import servers
from tests.conftest import missing

# Those whose carriers write to a socket themselves.
AT_ONCE = ["pubsub.RedisPubSubChannelLayer", "nats"]
# "nats-py": with what only that can.
KINDS = ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer", "nats", "nats-py"]


def settings_for(kind, port):
    """Return the settings of a project whose wakes go through a server at a port of loopback."""
    if kind.startswith("nats"):
        backend = "eric_sse_django.wakes.nats.NatsFabric"
        location = [f"nats://127.0.0.1:{port}"]
        return {"ERIC_SSE": {"FABRIC": {"BACKEND": backend, "LOCATION": location}}}
    config = {"hosts": [("127.0.0.1", port)]}
    return {"CHANNEL_LAYERS": {"default": {"BACKEND": f"channels_redis.{kind}", "CONFIG": config}}}


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    if request.param == "nats-py":
        monkeypatch.setattr(Site, "is_plain", lambda self: False)
    return request.param


@pytest.fixture
def fabric(kind, request):
    """Return the configured fabric, of a server that runs."""
    server = request.getfixturevalue("nats_server" if "nats" in kind else "redis_server")
    with override_settings(**settings_for(kind, server.port)):
        found = configured()
        assert found is not None
        yield found


@pytest.fixture
def server(kind):
    """Return a server of the test alone, which may break it, beside the settings for it."""
    make = servers.Nats if "nats" in kind else servers.Redis
    if (reason := make.absence()) is not None:
        missing(reason)
    with make() as server, override_settings(**settings_for(kind, server.port)):
        yield server
        if server.process.poll() is None:
            os.kill(server.process.pid, signal.SIGCONT)


def hang(server):
    """Stop a server; return when it no longer runs."""
    os.kill(server.process.pid, signal.SIGSTOP)
    os.waitpid(server.process.pid, os.WUNTRACED)


class Ear:
    """Receives in a task, as one process."""

    def __init__(self, fabric, *channels):
        self.receiver = fabric.receiver()
        self.receiver.want(set(channels))
        self.messages = []
        self.doubts = 0

    def doubt(self):
        self.doubts += 1

    async def __aenter__(self):
        self.task = asyncio.create_task(self.receiver.receive(self.messages.append, self.doubt))
        try:
            await self.until(lambda: self.doubts)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.receiver.close()

    async def until(self, condition, timeout_s=10):
        await until(lambda: condition() or self.task.done(), timeout_s)
        if self.task.done():
            self.task.result()

    async def hears(self, *expected):
        await self.until(lambda: len(self.messages) >= len(expected))
        assert self.messages == list(expected)


async def until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def carrier_of(fabric):
    """Return a function that sends parcels on a thread, as the sender's does."""
    carrier = fabric.carrier()
    try:
        yield lambda *parcels: asyncio.to_thread(carrier.send, parcels)
    finally:
        await asyncio.to_thread(carrier.close)


def number(count, channel=None):
    return Parcel(channel, {"type": "eric.wake", "n": count})


def messages(*counts):
    return [dict(number(count).message) for count in counts]


async def test_what_is_for_all_reaches_all_in_its_order(fabric):
    async with carrier_of(fabric) as send, Ear(fabric) as one, Ear(fabric, 7) as other:
        await send(number(0), number(1))
        await send(number(2))
        for ear in (one, other):
            await ear.hears(*messages(0, 1, 2))
        assert (one.doubts, other.doubts) == (1, 1)


async def test_what_is_for_a_channel_reaches_those_that_want_it(fabric):
    async with carrier_of(fabric) as send, Ear(fabric, 7) as one, Ear(fabric, 8) as other:
        await send(number(0, channel=7), number(1, channel=8), number(2))
        routed = fabric.routes
        await one.hears(*(messages(0, 2) if routed else messages(0, 1, 2)))
        await other.hears(*(messages(1, 2) if routed else messages(0, 1, 2)))


async def test_a_parcel_may_have_60_kb(fabric):
    big = Parcel(None, {"type": "eric.wake", "segments": 'é"' * 7_500})
    async with carrier_of(fabric) as send, Ear(fabric) as ear:
        await send(big, number(1))
        await ear.hears(dict(big.message), *messages(1))


async def test_a_carrier_that_is_connected_sends_at_once_from_any_thread(fabric, kind):
    carrier = fabric.carrier()
    try:
        async with Ear(fabric) as ear:
            assert not carrier.send_at_once([number(0)])
            await asyncio.to_thread(carrier.send, [number(1)])
            if kind not in AT_ONCE:
                assert not carrier.send_at_once([number(2)])
                return
            for count in (2, 3):
                assert carrier.send_at_once([number(count)])
            await ear.hears(*messages(1, 2, 3))
            await asyncio.to_thread(carrier.send, [])
            await asyncio.to_thread(carrier.send, [number(4)])
            assert carrier.send_at_once([number(5)])
            await ear.hears(*messages(1, 2, 3, 4, 5))
    finally:
        await asyncio.to_thread(carrier.close)


@pytest.mark.parametrize("kind", AT_ONCE, indirect=True)
async def test_what_was_sent_at_once_to_a_server_that_hangs_is_an_error_later(server, monkeypatch):
    for module in ("pubsub", "layer", "nats.publisher"):
        monkeypatch.setattr(f"eric_sse_django.wakes.{module}.LAYER_TIMEOUT_S", 0.05)
    carrier = configured().carrier()
    await asyncio.to_thread(carrier.send, [number(0)])
    hang(server)
    assert carrier.send_at_once([number(1)])
    with pytest.raises(OSError, match="timed out"):
        await asyncio.to_thread(carrier.send, [])
    assert not carrier.send_at_once([number(2)])
    carrier.close()


@pytest.mark.parametrize("kind", AT_ONCE, indirect=True)
async def test_what_does_not_fit_into_the_connection_is_not_sent_at_once(server):
    carrier = configured().carrier()
    await asyncio.to_thread(carrier.send, [number(0)])
    hang(server)
    big = Parcel(None, {"type": "eric.wake", "segments": "x" * 500_000})
    began = time.monotonic()
    assert not all(carrier.send_at_once([big]) for _ in range(100))
    assert time.monotonic() - began < 10
    carrier.close()


@pytest.mark.parametrize("kind", AT_ONCE, indirect=True)
async def test_a_server_that_has_gone_is_noticed_before_the_next_send_at_once(server):
    carrier = configured().carrier()
    await asyncio.to_thread(carrier.send, [number(0)])
    await asyncio.to_thread(server.restart)
    assert not carrier.send_at_once([number(1)])
    async with Ear(configured()) as ear:
        await asyncio.to_thread(carrier.send, [number(2)])
        await ear.hears(*messages(2))
    await asyncio.to_thread(carrier.close)


async def test_a_receiver_that_is_cancelled_leaves_nothing_behind(fabric):
    before = asyncio.all_tasks()
    async with Ear(fabric, 1, 2):
        pass
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_probe_wakes_no_process(fabric):
    async with Ear(fabric, 7) as ear:
        assert await asyncio.to_thread(fabric.probe) is True
        async with carrier_of(fabric) as send:
            await send(number(0))
        await ear.hears(*messages(0))


async def test_wakes_go_from_a_sender_to_a_receiver(fabric, monkeypatch, caplog):
    monkeypatch.setattr(receiving, "is_own", lambda message: False)  # as another process's
    heard, doubts = [], []
    receiver = wakes.WakeReceiver(heard.append, lambda: doubts.append(1))
    listening = asyncio.create_task(receiver.run())
    sender = wakes.WakeSender()
    await until(lambda: doubts)
    for count in range(1, 4):
        sender.wake()
        await until(lambda count=count: len(heard) == count)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await asyncio.to_thread(sender.close)
    assert [message["type"] for message in heard] == ["eric.wake"] * 3
    assert [record for record in caplog.records if not record.name.startswith("asyncio")] == []


def test_without_a_server_nothing_is_sent_and_the_probe_fails(kind, free_port):
    with override_settings(**settings_for(kind, free_port)):
        fabric = configured()
        carrier = fabric.carrier()
        with pytest.raises((OSError, RedisError)):
            carrier.send([number(0)])
        carrier.close()
        with pytest.raises((OSError, RedisError)):
            fabric.probe()


async def test_a_server_that_restarts_is_used_again(server, monkeypatch):
    monkeypatch.setattr(receiving, "is_own", lambda message: False)
    monkeypatch.setattr("eric_sse_django.outage.FIRST_DELAY_S", 0.01)
    heard, doubts = [], []
    receiver = wakes.WakeReceiver(heard.append, lambda: doubts.append(1))
    listening = asyncio.create_task(receiver.run())
    sender = wakes.WakeSender()
    await until(lambda: doubts)
    sender.wake()
    await until(lambda: heard)
    await asyncio.to_thread(server.restart)
    sender.wake()

    def works():
        sender.wake()
        return len(heard) > 1

    await until(works, 20)
    assert await asyncio.to_thread(sender.flush, 5)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await asyncio.to_thread(sender.close)


async def test_closing_is_bounded_while_the_server_hangs(server):
    fabric = configured()
    carrier = fabric.carrier()
    async with Ear(fabric, *range(100)) as ear:
        await asyncio.to_thread(carrier.send, [number(0)])
        await ear.hears(*messages(0))
        hang(server)
        began = time.monotonic()
        await asyncio.to_thread(carrier.close)
    assert time.monotonic() - began < 6


def test_the_default_is_the_channel_layer():
    assert isinstance(configured(), ChannelsFabric)


def test_without_a_fabric_nothing_is_made():
    with override_settings(ERIC_SSE={"FABRIC": None}):
        assert configured() is None


class Brief:
    """A fabric whose receivers connect, and end after `lives_s`, by an error or without one."""

    def __init__(self, lives_s, error=None):
        self.lives_s, self.error = lives_s, error
        self.made = self.open = 0

    def receiver(self):
        self.made += 1
        self.open += 1
        return self

    def want(self, channels):
        pass

    async def receive(self, on_message, on_doubt):
        on_doubt()
        await asyncio.sleep(self.lives_s)
        if self.error is not None:
            raise self.error

    async def close(self):
        self.open -= 1


@contextlib.asynccontextmanager
async def received_by(brief, monkeypatch):
    """Receive through a fabric, with rests that are longer than HEALTHY_S."""
    monkeypatch.setattr(receiving, "configured", lambda: brief)
    monkeypatch.setattr(receiving, "HEALTHY_S", 0.05)
    monkeypatch.setattr("eric_sse_django.outage.Backoff.next_delay_s", lambda self: 0.3)
    listening = asyncio.create_task(wakes.WakeReceiver(print, lambda: None).run())
    yield listening
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_receiver_that_fails_is_not_healthy_while_it_rests(monkeypatch, caplog):
    brief = Brief(0.01, ConnectionError("gone"))
    async with received_by(brief, monkeypatch):
        await until(lambda: brief.made == 2)
        [outage] = wakes.outages()
        assert outage.failures == 1
    assert "works again" not in caplog.text


async def test_a_receiver_that_failed_is_closed_before_the_rest(monkeypatch):
    brief = Brief(0.01, ConnectionError("gone"))
    async with received_by(brief, monkeypatch):
        await until(lambda: wakes.outages() and wakes.outages()[0].failures)
        await asyncio.sleep(0)
        assert (brief.made, brief.open) == (1, 0)


async def test_a_receiver_that_ends_without_an_error_is_an_outage(monkeypatch):
    brief = Brief(0)
    async with received_by(brief, monkeypatch):
        await until(lambda: wakes.outages() and wakes.outages()[0].trouble)
        assert brief.made == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task does not know that it is cancelled")
async def test_a_receiver_that_is_cancelled_by_its_library_is_an_outage(monkeypatch):
    brief = Brief(0, asyncio.CancelledError())
    async with received_by(brief, monkeypatch) as listening:
        await until(lambda: brief.made == 2)
        [outage] = wakes.outages()
        assert outage.trouble
        assert not listening.done()
    assert listening.cancelled()
