"""Presence while processes collide, stop for longer than their lease, or have wrong clocks."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import arrivals
from eric_sse_django.hub.presence import RENEW_S, Presence
from eric_sse_django.models import OpenStream, PresentListener, PresentUser, ServerProcess
from eric_sse_django.models.presence import LEASE_S
from eric_sse_django.shortcuts import users_online
from eric_sse_django.signals import (
    GRACE_S,
    listener_joined,
    listener_left,
    user_offline,
    user_online,
)
from tests.databases import on
from tests.patience import PATIENCE_S
from tests.server import until
from tests.streams.presence_tools import FACTS, run

WORDS = {
    listener_joined: "joined",
    listener_left: "left",
    user_online: "online",
    user_offline: "offline",
}
HOUR_S = 3_600
WAITING = {
    "postgres": "SELECT COUNT(*) FROM pg_locks WHERE NOT granted",
    "mariadb": "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS "
    "WHERE VARIABLE_NAME = 'Innodb_row_lock_current_waits'",
}


@pytest.fixture(autouse=True)
def receivers():
    """Connect a receiver to all signals of listeners and users."""

    def ignore(**_):
        pass

    for signal in WORDS:
        signal.connect(ignore)
    yield
    for signal in WORDS:
        signal.disconnect(ignore)


@pytest.fixture
def device(database):
    """Return the key of a listener of ann."""
    ann = get_user_model().objects.create(username="ann")
    return DatabaseChannel.create("orders").add_listener(ann, "till-7").row.pk


def words(changes):
    return [WORDS[change.signal] for change in changes]


def new_changes(presence):
    found = words(presence.changes)
    presence.changes.clear()
    return found


@sync_to_async
def shift(rows, field, seconds):
    """Move a time of rows."""
    for row in rows.all():
        setattr(row, field, getattr(row, field) + timedelta(seconds=seconds))
        row.save()


# Two processes at the same moment --------------------------------------------------------


def meanwhile(database, first, second):
    """
    Return what both find, when the second begins before the first has committed.

    The first ends when the second waits for its lock, or is done.
    """

    def apart(function):
        try:
            return words(function())
        finally:
            connections.close_all()

    def is_waiting():
        with connections[database].cursor() as cursor:
            cursor.execute(WAITING[database])
            return int(cursor.fetchone()[0]) > 0

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(using=log.database()):
            found = words(first())
            other = pool.submit(apart, second)
            assert until(lambda: other.done() or is_waiting(), PATIENCE_S)
        return found, other.result(PATIENCE_S)


@on("postgres", "mariadb")
def test_a_listener_that_comes_while_another_process_finds_that_it_left_joins(database, device):
    now = timezone.now()
    process = ServerProcess.objects.create(name="a", started_at=now, renewed_at=now)
    assert words(arrivals.joined(process.pk, [device])) == ["joined"]
    PresentListener.objects.update(missing_since=now - timedelta(seconds=GRACE_S))

    def comes():
        OpenStream.objects.create(pk=1, process=process, listener_id=device, opened_at=now)
        return arrivals.joined(process.pk, [device])

    assert meanwhile(database, arrivals.left, comes) == (["left"], ["joined"])


@on("postgres", "mariadb")
def test_a_user_who_comes_while_another_process_finds_that_they_left_is_online(database, device):
    ann = get_user_model().objects.get().pk
    assert words(arrivals.users_came(1, [ann])) == ["online"]

    def comes():
        list(arrivals.joined(1, [device]))
        return arrivals.users_came(1, [ann])

    assert meanwhile(database, arrivals.users_went, comes) == (["offline"], ["online"])


# Stopped, and killed ---------------------------------------------------------------------


async def test_what_was_stopped_for_longer_than_its_lease_comes_again(device):
    stopped, other = Presence(), Presence()
    key = stopped.opened(device)
    await stopped.flush(run, 1, FACTS)
    assert new_changes(stopped) == ["joined", "online"]
    await shift(ServerProcess.objects, "renewed_at", -LEASE_S)
    await other.flush(run, 1, FACTS)
    await shift(PresentListener.objects, "missing_since", -GRACE_S)
    await other.flush(run, 1 + RENEW_S, FACTS)
    assert new_changes(other) == ["left", "offline"]
    await stopped.flush(run, 1 + RENEW_S, FACTS)
    assert new_changes(stopped) == ["joined", "online"]
    await stopped.flush(run, 1 + 2 * RENEW_S, FACTS)
    await other.flush(run, 1 + 2 * RENEW_S, FACTS)
    assert new_changes(stopped) + new_changes(other) == []
    stopped.ended(key)
    await stopped.flush(run, 1 + 3 * RENEW_S, FACTS)
    await shift(PresentListener.objects, "missing_since", -GRACE_S)
    await stopped.flush(run, 1 + 4 * RENEW_S, FACTS)
    assert new_changes(stopped) == ["left", "offline"]


async def test_a_listener_that_was_removed_does_not_come_again(device):
    presence = Presence()
    presence.opened(device)  # and its stream has not ended yet
    await presence.flush(run, 1, FACTS)
    new_changes(presence)
    channel = await DatabaseChannel.aload("orders")
    await channel.aremove_listener("till-7")
    await PresentListener.objects.all().adelete()
    await presence.flush(run, 1 + RENEW_S, FACTS)
    assert await PresentListener.objects.acount() == 0
    assert await PresentUser.objects.acount() == 0
    assert new_changes(presence) == ["offline"]


# Clocks that were set back ---------------------------------------------------------------


async def test_a_process_that_died_before_the_clock_was_set_back_is_found_dead(device):
    dead, alive = Presence(), Presence()
    dead.opened(device)
    await dead.flush(run, 1, FACTS)
    await alive.flush(run, 1, FACTS)
    # As both clocks were an hour ahead; the one that lives renews its lease by the new time.
    await shift(ServerProcess.objects, "renewed_at", HOUR_S)
    for renewals in range(1, 6):
        assert len(await sync_to_async(users_online)()) == 1
        await alive.flush(run, 1 + renewals * RENEW_S, FACTS)
    await shift(PresentListener.objects, "missing_since", -GRACE_S)
    assert await sync_to_async(users_online)() == []
    assert await ServerProcess.objects.acount() == 1


async def test_a_process_that_renews_its_lease_into_the_future_is_alive(device):
    ahead, other = Presence(), Presence()
    ahead.opened(device)
    for renewals in range(8):
        await ahead.flush(run, 1 + renewals * RENEW_S, FACTS)
        first = ServerProcess.objects.filter(pk=ahead._process)
        await shift(first, "renewed_at", HOUR_S)
        await other.flush(run, 1 + renewals * RENEW_S, FACTS)
    assert len(await sync_to_async(users_online)()) == 1
    assert new_changes(other) == []


async def test_a_listener_that_went_before_the_clock_was_set_back_leaves(device):
    presence = Presence()
    key = presence.opened(device)
    await presence.flush(run, 1, FACTS)
    presence.ended(key)
    await presence.flush(run, 2, FACTS)
    new_changes(presence)
    await shift(PresentListener.objects, "missing_since", HOUR_S)
    await presence.flush(run, 1 + RENEW_S, FACTS)
    await shift(PresentListener.objects, "missing_since", -GRACE_S)
    await presence.flush(run, 1 + 2 * RENEW_S, FACTS)
    assert new_changes(presence) == ["left", "offline"]
