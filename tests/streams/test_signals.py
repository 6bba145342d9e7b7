"""listener_joined and listener_left: once for each change over all processes, off the loop."""

import asyncio
import threading
import time
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections
from django.utils import timezone

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub, arrivals
from eric_sse_django.hub.presence import LATE_S, RENEW_S, Presence
from eric_sse_django.models import Listener, PresentListener, ServerProcess
from eric_sse_django.models.presence import LEASE_S
from eric_sse_django.shortcuts import ausers_online, users_online
from eric_sse_django.signals import GRACE_S, listener_joined, listener_left
from eric_sse_django.streaming import Stream, Subscription
from tests.streams.presence_tools import FACTS, let_pass, received, run

WORDS = {listener_joined: "joined", listener_left: "left"}


@pytest.fixture
def wanted():
    """Connect a receiver to both signals."""

    def ignore(**_):
        pass

    with received(ignore, listener_joined, listener_left):
        yield


@pytest.fixture
async def listeners(database):
    """Return the keys of two listeners."""
    channel = await DatabaseChannel.acreate("orders")
    return [(await channel.aadd_listener(listener_id=name)).row.pk for name in ("a", "b")]


def new_changes(*presences):
    """Return what these have found since the last time: ["joined a"]."""
    found = []
    for presence in presences:
        found += [f"{WORDS[signal]} {listener.name}" for signal, listener, _ in presence.changes]
        presence.changes.clear()
    return found


async def test_a_listener_joins_once_over_all_processes(wanted, listeners):
    one, two = Presence(), Presence()
    one.opened(listeners[0])
    one.opened(listeners[0])
    two.opened(listeners[0])
    two.opened(listeners[1])
    await one.flush(run, 1, FACTS)
    await two.flush(run, 1, FACTS)
    assert (new_changes(one), new_changes(two)) == (["joined a"], ["joined b"])


async def test_a_listener_leaves_with_its_last_stream_and_after_the_grace(wanted, listeners):
    one, two = Presence(), Presence()
    first, second = one.opened(listeners[0]), two.opened(listeners[0])
    await one.flush(run, 1, FACTS)
    await two.flush(run, 1, FACTS)
    new_changes(one, two)
    one.ended(first)
    await one.flush(run, 2, FACTS)
    await let_pass(GRACE_S)
    assert one.due(2 + GRACE_S + LATE_S)
    await one.flush(run, 2 + GRACE_S + LATE_S, FACTS)
    assert new_changes(one, two) == []
    two.ended(second)
    await two.flush(run, 20, FACTS)
    assert not two.due(20 + GRACE_S)
    assert two.waits
    await two.flush(run, 20 + GRACE_S + LATE_S, FACTS)
    assert new_changes(one, two) == []  # by the database's time it is too early
    await let_pass(GRACE_S)
    await two.flush(run, 20 + RENEW_S, FACTS)
    assert new_changes(one, two) == ["left a"]
    assert not two.waits
    await one.flush(run, 60, FACTS)
    assert new_changes(one, two) == []


async def test_a_reload_is_neither_a_leave_nor_a_join(wanted, listeners):
    presence = Presence()
    key = presence.opened(listeners[0])
    await presence.flush(run, 1, FACTS)
    new_changes(presence)
    presence.ended(key)
    await presence.flush(run, 2, FACTS)
    await let_pass(GRACE_S - 1)
    key = presence.opened(listeners[0])
    await presence.flush(run, 3, FACTS)
    await let_pass(GRACE_S)
    await presence.flush(run, 60, FACTS)
    assert new_changes(presence) == []
    presence.ended(key)
    await presence.flush(run, 61, FACTS)
    await let_pass(GRACE_S - 1)  # the time before the reload does not count
    await presence.flush(run, 100, FACTS)
    assert new_changes(presence) == []


async def test_a_reload_changes_at_no_moment_who_is_online(wanted, listeners, database):
    ann = await get_user_model().objects.acreate(username="ann")
    await Listener.objects.filter(pk=listeners[0]).aupdate(owner=ann.pk)
    presence, found = Presence(), []

    def online():
        names = [user.username for user in users_online()]
        return names, [listener.id for listener in DatabaseChannel.load("orders").online()]

    def watched(function, *args):
        """Look after each statement of the hub, as a view of another process may do."""
        connection = connections[database]

        def look(execute, *statement):
            result = execute(*statement)
            hooks, connection.execute_wrappers = connection.execute_wrappers, []
            found.append(online())
            connection.execute_wrappers = hooks
            return result

        with connection.execute_wrapper(look):
            return function(*args)

    async def flush(now):
        await presence.flush(partial(run, watched), now, FACTS)

    key = presence.opened(listeners[0])
    await presence.flush(run, 1, FACTS)
    for now in (2, 3):
        presence.ended(key)
        await flush(now)
        key = presence.opened(listeners[0])
        await flush(now + 0.5)
    assert len(found) > 10
    assert [each for each in found if each != (["ann"], ["a"])] == []
    presence.ended(key)
    await presence.flush(run, 4, FACTS)
    await let_pass(GRACE_S)
    assert await sync_to_async(online)() == ([], [])


async def test_listeners_of_a_process_that_died_leave_by_another(wanted, listeners):
    dead, alive = Presence(), Presence()
    dead.opened(listeners[0])
    dead.opened(listeners[1])
    await dead.flush(run, 1, FACTS)
    alive.opened(listeners[1])
    await alive.flush(run, 1, FACTS)
    new_changes(dead, alive)
    row = await sync_to_async(ServerProcess.objects.order_by("pk").first)()
    row.renewed_at -= timezone.timedelta(seconds=LEASE_S)
    await row.asave()
    await alive.flush(run, 1 + RENEW_S, FACTS)
    await let_pass(GRACE_S)
    await alive.flush(run, 1 + 2 * RENEW_S, FACTS)
    assert new_changes(alive) == ["left a"]


async def test_a_listener_that_was_removed_has_no_signal(wanted, listeners):
    presence = Presence()
    key = presence.opened(listeners[0])
    await presence.flush(run, 1, FACTS)
    new_changes(presence)
    channel = await DatabaseChannel.aload("orders")
    await channel.aremove_listener("a")
    presence.ended(key)
    await presence.flush(run, 2, FACTS)
    await let_pass(GRACE_S)
    await presence.flush(run, 60, FACTS)
    assert new_changes(presence) == []
    assert await PresentListener.objects.acount() == 0


async def test_presence_is_not_compared_where_no_receiver_is_connected(listeners):
    presence = Presence()
    presence.ended(presence.opened(listeners[0]))
    presence.opened(listeners[0])
    await presence.flush(run, 1, FACTS)
    assert await PresentListener.objects.acount() == 0
    assert not presence.waits


async def test_two_processes_that_look_at_once_send_each_signal_once(wanted, listeners, database):
    found = await asyncio.gather(
        *(asyncio.to_thread(_apart, list, arrivals.joined, n, listeners) for n in range(4))
    )
    assert sum(map(len, found)) == 2
    await sync_to_async(arrivals.note_missing)()
    await let_pass(GRACE_S)
    found = await asyncio.gather(
        *(asyncio.to_thread(_apart, list, arrivals.left) for _ in range(4))
    )
    assert sum(map(len, found)) == 2


def _apart(collect, function, *args):
    try:
        return collect(function(*args))
    finally:
        connections.close_all()


@pytest.fixture
async def hub(transactional_db):
    yield Hub.for_running_loop()
    await Hub.close_all()


async def until(ready, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_receivers_are_called_off_the_loop_with_the_listener(hub):
    channel = await DatabaseChannel.acreate("orders")
    ada = await get_user_model().objects.acreate_user("ada")
    listener = await channel.aadd_listener(ada, "till-7")
    calls = []

    def receive(sender, listener, **_):
        thread = threading.current_thread().name
        calls.append((thread, listener.name, listener.channel.name, listener.owner.username))

    with received(receive, listener_joined):
        async with Stream(hub, [Subscription(channel.row, listener.row)]):
            await hub.records.write()
            await until(lambda: calls)
            assert await ausers_online("orders") == [ada]
        assert calls == [("eric-sse-signals", "till-7", "orders", "ada")]
    await hub.records.write()
    assert await sync_to_async(users_online)("orders") == []


async def test_a_receiver_that_raises_or_hangs_affects_no_other(hub, settings, caplog):
    settings.ERIC_SSE = {"HOOK_TIMEOUT_S": 1.0}
    channel = await DatabaseChannel.acreate("orders")
    first, second, third = [await channel.aadd_listener(listener_id=name) for name in "abc"]
    release, calls = threading.Event(), []

    def receive(listener, **_):
        calls.append(listener.name)
        if listener.name == "a":
            raise ValueError("a receiver's own")
        if listener.name == "b":
            release.wait(30)

    with received(receive, listener_joined):
        async with (
            Stream(hub, [Subscription(channel.row, first.row)]),
            Stream(hub, [Subscription(channel.row, second.row)]),
        ):
            await hub.records.write()
            await until(lambda: len(calls) == 2)
            async with Stream(hub, [Subscription(channel.row, third.row)]):
                began = time.monotonic()
                await hub.records.write()  # is not delayed
                assert time.monotonic() - began < 1
                await until(lambda: "c" in calls)
    release.set()
    assert "a receiver failed" in caplog.text
    assert "a receiver hangs" in caplog.text
    assert hub.trouble() is None
