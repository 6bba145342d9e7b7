"""user_online and user_offline: once for each change over all processes; and streams' signals."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections
from django.template import Context, Template
from django.utils import timezone

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub, arrivals
from eric_sse_django.hub.presence import LATE_S, RENEW_S, Presence
from eric_sse_django.models import (
    Listener,
    OpenStream,
    PresentListener,
    PresentUser,
    ServerProcess,
)
from eric_sse_django.shortcuts import users_online, watch_url, watchers_online
from eric_sse_django.signals import (
    GRACE_S,
    listener_joined,
    stream_closed,
    stream_opened,
    user_offline,
    user_online,
)
from eric_sse_django.streaming import Stream, Subscription
from eric_sse_django.testing import StreamClient
from tests.databases import sqlite_only
from tests.streams.presence_tools import FACTS, let_pass, received, run

WORDS = {user_online: "online", user_offline: "offline"}


@pytest.fixture
def wanted():
    with received(lambda **_: None, user_online, user_offline):
        yield


@pytest.fixture
async def devices(database):
    """Return the keys of two listeners of ann, in two channels, and of one of bob."""
    users = get_user_model().objects
    ann, bob = [await users.acreate(username=name) for name in ("ann", "bob")]
    keys = []
    for channel, owner in (("orders", ann), ("news", ann), ("orders", bob)):
        found = await DatabaseChannel.aget_or_create(channel)
        keys.append((await found.aadd_listener(owner)).row.pk)
    return keys


def new_changes(*presences):
    """Return what these have found of users since the last time: ["online ann"]."""
    found = []
    for presence in presences:
        changes = [each for each in presence.changes if each.signal in WORDS]
        found += [f"{WORDS[each.signal]} {each.subject.username}" for each in changes]
        presence.changes.clear()
    return found


async def test_a_user_is_online_with_the_first_device_over_all_processes(wanted, devices):
    one, two = Presence(), Presence()
    one.opened(devices[0])
    await one.flush(run, 1, FACTS)
    two.opened(devices[1])
    two.opened(devices[2])
    await two.flush(run, 1, FACTS)
    assert (new_changes(one), new_changes(two)) == (["online ann"], ["online bob"])


async def test_a_user_is_offline_after_the_last_device_and_the_grace(wanted, devices):
    one, two = Presence(), Presence()
    first, second = one.opened(devices[0]), two.opened(devices[1])
    await one.flush(run, 1, FACTS)
    await two.flush(run, 1, FACTS)
    new_changes(one, two)
    one.ended(first)
    await one.flush(run, 2, FACTS)
    await let_pass(GRACE_S)
    await one.flush(run, 2 + GRACE_S + LATE_S, FACTS)
    assert new_changes(one, two) == []  # the other device is online
    two.ended(second)
    await two.flush(run, 20, FACTS)
    await two.flush(run, 20 + GRACE_S + LATE_S, FACTS)
    assert new_changes(one, two) == []  # a page is reloaded, perhaps
    await let_pass(GRACE_S)
    await two.flush(run, 20 + RENEW_S, FACTS)
    assert new_changes(one, two) == ["offline ann"]
    await one.flush(run, 60, FACTS)
    assert new_changes(one, two) == []
    one.opened(devices[1])
    await one.flush(run, 61, FACTS)
    assert new_changes(one, two) == ["online ann"]


async def test_users_of_a_process_that_died_go_by_another(wanted, devices):
    dead, alive = Presence(), Presence()
    dead.opened(devices[0])
    dead.opened(devices[2])
    await dead.flush(run, 1, FACTS)
    alive.opened(devices[2])
    await alive.flush(run, 1, FACTS)
    new_changes(dead, alive)
    row = await sync_to_async(ServerProcess.objects.order_by("pk").first)()
    row.renewed_at -= timezone.timedelta(seconds=100)
    await row.asave()
    await alive.flush(run, 1 + RENEW_S, FACTS)
    await let_pass(GRACE_S)
    await alive.flush(run, 1 + 2 * RENEW_S, FACTS)
    assert new_changes(alive) == ["offline ann"]


def _apart(function, *args):
    """Call on a thread's own connection."""
    try:
        return function(*args)
    finally:
        connections.close_all()


async def test_processes_at_the_same_moment_send_one_signal(wanted, devices):
    ann = (await Listener.objects.aget(pk=devices[0])).owner_id
    await sync_to_async(lambda: list(arrivals.joined(1, devices[:1])))()
    came = await asyncio.gather(
        *(
            asyncio.to_thread(_apart, lambda n: list(arrivals.users_came(n, [ann])), n)
            for n in range(4)
        )
    )
    assert sum(map(len, came)) == 1
    await PresentListener.objects.all().adelete()
    went = await asyncio.gather(
        *(asyncio.to_thread(_apart, lambda: list(arrivals.users_went())) for _ in range(4))
    )
    assert sum(map(len, went)) == 1
    assert await PresentUser.objects.acount() == 0


async def test_a_user_that_was_missed_is_found_with_the_renewal(wanted, devices):
    presence = Presence()
    presence.opened(devices[0])
    await presence.flush(run, 1, FACTS)
    await PresentUser.objects.all().adelete()  # as a process does that has just not seen it
    new_changes(presence)
    await presence.flush(run, 1 + RENEW_S, FACTS)
    assert new_changes(presence) == ["online ann"]


async def test_nothing_is_recorded_without_receivers_and_nothing_of_users_for_listeners(devices):
    presence = Presence()
    presence.opened(devices[0])
    await presence.flush(run, 1, FACTS)
    assert await PresentUser.objects.acount() == 0
    with received(lambda **_: None, listener_joined):
        other = Presence()
        other.opened(devices[0])
        await other.flush(run, 1, FACTS)
        assert await PresentListener.objects.acount() == 1
        assert await PresentUser.objects.acount() == 0


@sqlite_only
async def test_receivers_get_the_user_and_what_a_stream_was(devices, fast_ticks):
    got = []

    def note(sender, signal, **arguments):
        got.append((sender, arguments))

    with received(note, user_online, stream_opened, stream_closed):
        row = await Listener.objects.select_related("channel").aget(pk=devices[0])
        stream = Stream(Hub.for_running_loop(), [Subscription(row.channel, row)])
        async with stream:
            while not {get_user_model(), OpenStream} <= {sender for sender, _ in got}:
                await asyncio.sleep(0.01)
        while len(got) < 3:
            await asyncio.sleep(0.01)
        await Hub.close_all()
    by_sender = {}
    for sender, arguments in got:
        by_sender.setdefault(sender, []).append(arguments)
    assert by_sender[get_user_model()] == [
        {"user": await get_user_model().objects.aget(username="ann")}
    ]
    opened, closed = by_sender[OpenStream]
    assert (opened["channels"], opened["listeners"]) == ([row.channel], [row])
    assert opened["listeners"][0].owner.username == "ann"
    assert closed["opened_at"] == opened["opened_at"]
    assert (closed["sent"], type(closed["reason"])) == (0, str)


@sqlite_only
def test_who_is_online_is_counted_for_templates(database):
    DatabaseChannel.create("orders")
    ann = get_user_model().objects.create(username="ann")
    listener = DatabaseChannel.load("orders").add_listener(ann).row
    now = timezone.now()
    process = ServerProcess.objects.create(name="a", started_at=now, renewed_at=now)
    OpenStream.objects.create(pk=1, process=process, listener=listener, opened_at=now)
    process.watchers.create(channel=listener.channel, streams=3)
    assert users_online() == users_online("orders") == [ann]
    assert watchers_online("orders") == 3
    text = (
        '{% load eric_sse %}{% eric_online "orders" %}{% eric_online "orders" as online %}'
        "{% for user in online.users %} {{ user.username }}{% endfor %} {{ online.watchers }}"
    )
    assert Template(text).render(Context()) == "4 ann 3"


@sqlite_only
def test_watchers_of_a_test_are_counted(database):
    DatabaseChannel.create("orders")
    with StreamClient(watch_url("orders")) as stream:
        deadline = timezone.now() + timezone.timedelta(seconds=5)
        while not watchers_online("orders") and timezone.now() < deadline:
            with pytest.raises(AssertionError):
                stream.next(timeout_s=0.2)
        assert watchers_online("orders") == 1
