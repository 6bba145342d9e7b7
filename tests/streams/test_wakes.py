"""Wakes between processes: coalesced, lost without harm, and never in anybody's way."""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time

import pytest
from channels.layers import BaseChannelLayer

from eric_sse_django import cancelling, wakes
from eric_sse_django.wakes import channels, receiver
from eric_sse_django.wakes import layer as layer_module
from eric_sse_django.wakes import sender as sending
from eric_sse_django.wakes.fabric import Parcel
from tests.live.layers import SwallowingLayer
from tests.server import until as waits_until
from tests.wakes import listen, send_through


class FakeLayer(BaseChannelLayer):
    """A layer between tasks of a test. `failures` are raised, one at each call."""

    extensions = ("groups",)

    def __init__(self):
        super().__init__()
        self.calls = []
        self.failures = []
        self.messages = []
        self.closed = 0
        self.is_deaf = False
        self.sent = threading.Semaphore(0)
        self.received = None
        self.may_send = threading.Event()
        self.may_send.set()

    def _call(self, name):
        self.calls.append(name)
        if self.failures:
            raise self.failures.pop(0)

    async def new_channel(self, prefix="specific"):
        self.received = asyncio.Queue()
        return f"{prefix}!x"

    async def group_add(self, group, channel):
        self._call("group_add")

    async def group_send(self, group, message):
        assert (group, message["type"]) == (channels.GROUP, "eric.wake")
        self.messages.append(message)
        self._call("group_send")
        self.sent.release()
        while not self.may_send.is_set():
            await asyncio.sleep(0.001)

    async def send(self, channel, message):
        self._call("send")
        if not self.is_deaf:
            self.received.put_nowait(message)

    async def receive(self, channel):
        found = await self.received.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def close_pools(self):
        self.closed += 1


def make_layers(monkeypatch, make):
    """Replace the function that builds the project's layer."""
    monkeypatch.setattr(channels, "make_layer", make)


@pytest.fixture
def layer(monkeypatch):
    layer = FakeLayer()
    make_layers(monkeypatch, lambda: layer)
    monkeypatch.setattr("eric_sse_django.outage.FIRST_DELAY_S", 0.005)
    return layer


@pytest.fixture
def sender():
    sender = wakes.WakeSender()
    yield sender
    sender.close()


def test_wakes_during_a_send_cause_one_more_send(layer, sender):
    layer.may_send.clear()
    sender.wake()
    assert layer.sent.acquire(timeout=2)
    for _ in range(100):
        sender.wake()
    layer.may_send.set()
    assert sender.flush(2)
    assert layer.calls == ["group_send"] * 2


class AtOnce:
    """A carrier that sends at once, while `takes`; without parcels it verifies."""

    sends_at_once = True

    def __init__(self):
        self.sends, self.at_once, self.verified = [], [], 0
        self.takes = True
        self.error = None

    def carrier(self):
        return self

    def send(self, parcels):
        if self.error is not None:
            raise self.error
        self.sends += parcels
        self.verified += not parcels

    def send_at_once(self, parcels):
        if self.error is not None or not self.takes:
            return False
        self.at_once.append((threading.current_thread(), parcels))
        return True

    def close(self):
        pass


@pytest.fixture
def at_once(monkeypatch):
    return send_through(AtOnce(), monkeypatch)


@pytest.fixture
def packing():
    sender = wakes.WakeSender(lambda items: [Parcel(None, {"item": item}) for item in items])
    yield sender
    sender.close()


def items_of(parcels):
    return [parcel.message.get("item") for parcel in parcels]


def test_while_the_thread_is_idle_an_item_is_sent_by_the_caller(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    packing.wake(2)
    ((thread, parcels),) = at_once.at_once
    assert (thread, items_of(parcels)) == (threading.current_thread(), [2])
    assert parcels[0].message.keys() == {"type", "sender", "item"}
    assert items_of(at_once.sends) == [1]


def test_a_plain_wake_is_sent_by_the_thread(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    packing.wake()
    assert packing.flush(2)
    assert (items_of(at_once.sends), at_once.at_once) == ([1, None], [])


@pytest.mark.parametrize("failure", ["refuses", "raises"])
def test_what_is_not_sent_at_once_is_sent_by_the_thread(at_once, packing, failure):
    packing.wake(1)
    assert packing.flush(2)
    if failure == "refuses":
        at_once.takes = False
    else:
        at_once.send_at_once = None  # a call raises TypeError
    packing.wake(2)
    assert packing.flush(2)
    assert items_of(at_once.sends) == [1, 2]


def test_a_publisher_does_not_wait_for_another_one_that_sends(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    is_sending, may_continue = threading.Event(), threading.Event()

    def send_slowly(parcels):
        is_sending.set()
        return may_continue.wait(10)

    at_once.send_at_once = send_slowly
    other = threading.Thread(target=packing.wake, args=[2])
    other.start()
    assert is_sending.wait(2)
    began = time.monotonic()
    packing.wake(3)
    assert time.monotonic() - began < 1
    assert items_of(at_once.sends) == [1]  # the thread does not use the carrier meanwhile
    may_continue.set()
    other.join()
    assert packing.flush(2)
    assert items_of(at_once.sends) == [1, 3]


def test_for_a_carrier_that_never_sends_at_once_nothing_is_packed_twice(at_once, packing):
    at_once.sends_at_once = False
    packed = []
    packing._pack = lambda items: packed.extend(items) or [Parcel(None, {"item": items[0]})]
    for item in (1, 2):
        packing.wake(item)
        assert packing.flush(2)
    assert (packed, items_of(at_once.sends), at_once.at_once) == ([1, 2], [1, 2], [])


def test_what_cannot_be_packed_is_a_plain_wake_and_logged_once(at_once, packing, caplog):
    def fail(items):
        raise ValueError("no key")

    packing._pack = fail
    for item in range(3):
        packing.wake(item)
        assert packing.flush(2)
    sent = at_once.sends + [parcel for _, parcels in at_once.at_once for parcel in parcels]
    assert items_of(sent) == [None] * 3
    assert [record.message for record in caplog.records] == [
        "wakes are sent without what they carry: it cannot be packed"
    ]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_what_a_signal_ends_others_are_asked_to_read(at_once, packing, signal):
    packing.wake(1)
    assert packing.flush(2)

    def interrupt(parcels):
        raise signal

    at_once.send_at_once = interrupt
    with pytest.raises(signal):
        packing.wake(2)
    assert packing.flush(2)
    assert items_of(at_once.sends) == [1, None]


def test_what_was_sent_at_once_before_a_connection_ended_may_be_lost(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    packing.wake(2)
    at_once.takes = False
    packing.wake(3)
    assert packing.flush(2)
    assert items_of(at_once.sends) == [1, None]


def test_what_was_sent_at_once_is_verified_before_the_thread_sends_more(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    packing.wake(2)
    packing.wake()
    assert packing.flush(2)
    assert (items_of(at_once.sends), at_once.verified) == ([1, None], 1)


def test_what_was_sent_last_is_verified_by_the_watch(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    packing.wake(2)
    for _ in range(2):
        packing.check(time.monotonic())
        assert packing._idle.wait(2)
        assert at_once.verified == 1


def test_flush_makes_sure_that_what_was_sent_at_once_arrives(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    packing.wake(2)
    assert at_once.verified == 0
    assert packing.flush(2)
    assert at_once.verified == 1
    assert packing.flush(2)
    assert at_once.verified == 1


def test_after_a_while_the_thread_makes_sure_that_wakes_arrive(at_once, packing, monkeypatch):
    packing.wake(1)
    assert packing.flush(2)
    monkeypatch.setattr(sending, "TRUST_S", 0.0)
    packing.wake(2)
    assert packing._idle.wait(2)
    assert (at_once.verified, len(at_once.at_once)) == (1, 1)


def test_where_that_fails_others_are_asked_to_read_the_log(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    packing.wake(2)
    at_once.error = ConnectionError("gone")
    assert packing.flush(2)
    at_once.error = None
    waits_until(lambda: items_of(at_once.sends) == [1, None], 5)


def test_a_thread_that_was_replaced_gives_its_carrier_to_nobody(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    other = AtOnce()
    assert not packing._share(other)  # this thread is not the sender's
    packing.wake(2)
    assert (len(at_once.at_once), other.at_once) == (1, [])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it forks beside threads
def test_a_child_waits_for_no_sender_of_its_parent(at_once, packing):
    packing.wake(1)
    assert packing.flush(2)
    child = os.fork()
    if not child:
        packing._lock.acquire()  # as another thread of the parent may have, which is not here
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2)
        wakes.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_flush_waits_for_a_wake_that_comes_when_the_thread_becomes_idle():
    class Wanted(threading.Event):
        """An event that is set right after it was found not to be."""

        def is_set(self):
            found = super().is_set()
            if waking.ident is None:
                waking.start()
                waking.join(0.1)
            return found

    sender = wakes.WakeSender()
    sender._thread = threading.current_thread()
    sender._wanted = Wanted()
    waking = threading.Thread(target=sender.wake)
    assert sender._is_wanted()
    waking.join(2)
    assert not sender.flush(0.01)


def test_a_wake_that_could_not_be_sent_is_sent_when_the_layer_works_again(layer, sender, caplog):
    layer.failures = [ConnectionError("gone"), ConnectionError("still")]
    sender.wake()
    assert layer.sent.acquire(timeout=2)
    sender.close()
    messages = [record.getMessage() for record in caplog.records]
    assert len([m for m in messages if "failed" in m]) == 1
    assert len([m for m in messages if "works again after 2" in m]) == 1
    assert layer.closed == 3


def test_closing_takes_the_thread_and_the_layer_along(layer, sender):
    sender.wake()
    assert layer.sent.acquire(timeout=2)
    sender.close()
    assert layer.closed == 1
    assert not sender._thread.is_alive()
    sender.wake()
    assert sender.flush(1)


def test_without_a_layer_nothing_waits(monkeypatch, sender):
    make_layers(monkeypatch, lambda: None)
    began = time.monotonic()
    sender.wake()
    assert sender.flush()
    assert time.monotonic() - began < 0.5


def test_a_layer_that_hangs_does_not_delay_a_flush(layer, sender, monkeypatch):
    layer.may_send.clear()
    sender.wake()
    assert layer.sent.acquire(timeout=2)
    assert not sender.flush(0.01)
    layer.may_send.set()


@pytest.mark.parametrize(
    ("alias", "backend", "expected"),
    [
        ("default", "channels.layers.InMemoryChannelLayer", None),
        ("default", "tests.live.layers.SwallowingLayer", SwallowingLayer),
        ("other", "tests.live.layers.SwallowingLayer", None),
        (None, "tests.live.layers.SwallowingLayer", None),
    ],
)
def test_only_a_layer_between_processes_is_used(settings, alias, backend, expected):
    settings.ERIC_SSE = {"CHANNEL_LAYER": alias}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    found = layer_module.make_layer()
    assert (found and type(found)) is expected


@pytest.mark.parametrize("kind", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
async def test_each_layer_of_channels_redis_carries_wakes(
    settings, redis_server, kind, monkeypatch, caplog
):
    hosts = {"hosts": [("127.0.0.1", redis_server.port)]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"channels_redis.{kind}", "CONFIG": hosts}}
    monkeypatch.setattr(receiver, "is_own", lambda message: False)  # as another process's
    monkeypatch.setattr(channels, "REJOIN_S", 0.05)  # so that the echo is tried too
    sender = wakes.WakeSender()
    async with Ear() as ear:
        await ear.receives(1)
        sender.wake()
        await ear.receives(2)
        sender.wake()
        await ear.receives(3)
        await asyncio.sleep(0.2)
    await asyncio.to_thread(sender.close)
    assert [record for record in caplog.records if record.name.startswith("eric")] == []


class Ear:
    """Listens in a task, and counts."""

    def __init__(self):
        self.received = 0

    def wake(self):
        self.received += 1

    async def __aenter__(self):
        self.task = asyncio.create_task(listen(self.wake))
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def receives(self, count):
        for _ in range(1_000):
            if self.received >= count:
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"{self.received} wakes, not {count}")


async def test_every_wake_is_received_and_one_for_what_came_before(layer):
    async with Ear() as ear:
        await ear.receives(1)
        layer.received.put_nowait({})
        await ear.receives(2)
    assert layer.closed == 1


async def test_a_receiver_that_fails_starts_again_and_logs_it_once(layer, monkeypatch, caplog):
    monkeypatch.setattr(receiver, "HEALTHY_S", 0.02)
    caplog.set_level(logging.WARNING)
    async with Ear() as ear:
        await ear.receives(1)
        layer.failures = [ConnectionError("still")]
        layer.received.put_nowait(ConnectionError("gone"))
        await ear.receives(2)
        while "works again" not in caplog.text:
            await asyncio.sleep(0.002)
    messages = [record.getMessage() for record in caplog.records]
    assert len([m for m in messages if "failed" in m]) == 1
    assert len([m for m in messages if "works again after 2" in m]) == 1


async def test_the_group_is_joined_again_and_a_failure_of_that_noticed(layer, monkeypatch):
    monkeypatch.setattr(channels, "REJOIN_S", 0.01)
    async with Ear() as ear:
        while layer.calls.count("group_add") < 3:
            await asyncio.sleep(0.002)
        layer.failures = [ConnectionError("gone")]
        await ear.receives(2)
    assert layer.closed >= 2


async def test_a_layer_that_cannot_be_made_is_tried_again(layer, monkeypatch):
    tries = []

    def make():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("a bad setting")
        return layer

    make_layers(monkeypatch, make)
    async with Ear() as ear:
        await ear.receives(1)
    assert len(tries) == 3


async def test_a_layer_that_cannot_be_closed_ends_nothing(layer, monkeypatch):
    async def close():
        raise ConnectionError("gone")

    monkeypatch.setattr(FakeLayer, "close_pools", lambda self: close())
    layer.failures = [ConnectionError("gone")]
    async with Ear() as ear:
        await ear.receives(1)


class StubbornLayer(FakeLayer):
    """Its receive ignores every cancel, as channels_redis does now and then on Python 3.11."""

    def __init__(self):
        super().__init__()
        self.released = asyncio.Event()

    async def receive(self, channel):
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        await asyncio.Event().wait()


@pytest.fixture
async def stubborn(monkeypatch):
    layer = StubbornLayer()
    make_layers(monkeypatch, lambda: layer)
    monkeypatch.setattr("eric_sse_django.outage.FIRST_DELAY_S", 0.005)
    monkeypatch.setattr(cancelling.cancel, "__defaults__", (0.05,))
    yield layer
    layer.released.set()
    await asyncio.sleep(0.1)


async def test_wakes_are_received_after_a_receive_that_ignored_its_cancel(stubborn, monkeypatch):
    monkeypatch.setattr(channels, "REJOIN_S", 0.01)
    async with Ear() as ear:
        await ear.receives(1)
        stubborn.failures = [ConnectionError("gone")]  # of the next time that it joins the group
        await ear.receives(2)
        [outage] = wakes.outages()
        assert outage.trouble.startswith("receiving wakes of other processes has failed")


async def test_listening_ends_soon_after_its_cancel_whatever_the_layer_does(stubborn):
    task = asyncio.create_task(listen(print))
    await asyncio.sleep(0.01)
    assert await cancelling.cancel([task], 1) == set()
    assert wakes.outages() == ()


async def test_joining_that_hangs_is_an_outage(layer, monkeypatch):
    monkeypatch.setattr(channels, "JOIN_S", 0.01)
    monkeypatch.setattr(FakeLayer, "group_add", lambda *_: asyncio.Event().wait())
    async with Ear():
        await until(lambda: any(outage.trouble for outage in wakes.outages()))


async def test_a_link_that_no_longer_delivers_is_noticed_and_replaced(layer, monkeypatch, caplog):
    monkeypatch.setattr(channels, "REJOIN_S", 0.01)
    async with Ear() as ear:
        await ear.receives(1)
        await until(lambda: layer.calls.count("send") >= 2)
        assert ear.received == 1  # an echo wakes nobody
        assert caplog.records == []
        monkeypatch.setattr(channels, "JOIN_S", 0.01)
        layer.is_deaf = True
        await ear.receives(2)
    assert "did not receive what it sent to itself" in caplog.text


async def test_a_process_ignores_its_own_wakes(layer, sender):
    async with Ear() as ear:
        await ear.receives(1)
        sender.wake()
        assert await asyncio.to_thread(sender.flush, 2)
        [own] = layer.messages
        layer.received.put_nowait(own)
        layer.received.put_nowait({"type": "eric.wake"})  # of the version before
        await ear.receives(2)
        layer.received.put_nowait(own | {"sender": "another's"})
        await ear.receives(3)


async def test_a_send_that_ignores_its_cancel_is_a_failure_and_tried_again(
    layer, sender, monkeypatch
):
    monkeypatch.setattr(channels, "LAYER_TIMEOUT_S", 0.01)
    monkeypatch.setattr(layer_module, "LAYER_TIMEOUT_S", 0.01)
    monkeypatch.setattr("eric_sse_django.outage.FIRST_DELAY_S", 0.005)

    async def group_send(self, group, message):
        self.calls.append("group_send")
        # Its loop closes while it is pending: asyncio would log that during a later test.
        asyncio.current_task()._log_destroy_pending = False
        while len(self.calls) < 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    monkeypatch.setattr(FakeLayer, "group_send", group_send)
    monkeypatch.setattr(cancelling.cancel, "__defaults__", (0.05,))
    sender.wake()
    await until(lambda: len(layer.calls) >= 2)


def test_a_layer_that_keeps_its_thread_is_an_outage_and_used_again_later(
    layer, sender, monkeypatch, caplog
):
    kept, released = threading.Event(), threading.Event()

    async def group_send(self, group, message):
        if not kept.is_set():
            kept.set()
            released.wait(10)
        self.sent.release()

    monkeypatch.setattr(FakeLayer, "group_send", group_send)
    sender.wake()
    assert kept.wait(2)
    sender.check(time.monotonic())
    assert caplog.records == []
    sender.check(time.monotonic() + sending.HUNG_S)
    assert layer.sent.acquire(timeout=2)
    assert sender.flush(2)
    released.set()
    sender.wake()
    assert sender.flush(2)
    messages = [record.getMessage() for record in caplog.records]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"], messages


async def until(condition):
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come to that")
