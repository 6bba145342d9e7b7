"""How far back a watching client may go: WATCH_REPLAY_S, or to its ticket's start."""

import asyncio
import itertools
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.authorization import amake_ticket
from eric_sse_django.entry import RESET
from eric_sse_django.hub.hub import Past
from eric_sse_django.models import Channel, QueuedMessage
from tests import databases
from tests.streams.asgi import Response

WATCH = "/events/orders/"


@pytest.fixture
async def old(site):
    """Publish three messages two hours ago, and two just now; return their positions."""
    for number in range(5):
        await site.publish(number)
    await site.at_head()
    rows = [row async for row in QueuedMessage.objects.order_by("position")]
    for row in rows[:3]:
        await QueuedMessage.objects.filter(pk=row.pk).aupdate(
            created_at=timezone.now() - timedelta(hours=2)
        )
    return [row.position for row in rows]


numbers = itertools.count()


async def begins(application, site, url, **scope):
    """Return the types and data of a stream's first events, up to one that is published now."""
    now = f"now {next(numbers)}"
    async with Response(application, url, **scope) as response:
        assert response.status == 200
        await site.publish(now)
        found = []
        while not found or found[-1][1] != f'"{now}"':
            event = await response.event()
            found.append((event.type, event.data))
    return [each for each in found if not each[1].startswith('"now')]


def named(found):
    return [type if type == RESET else data for type, data in found]


async def test_a_fresh_ticket_shows_no_more_than_a_client_needs_that_reconnects(
    application, site, old, settings
):
    url = f"{WATCH}?last_event_id=0&ticket={await amake_ticket('orders')}"
    assert named(await begins(application, site, url)) == [RESET, "3", "4"]
    settings.ERIC_SSE = {"WATCH_REPLAY_S": 0}
    assert named(await begins(application, site, url)) == [RESET]


async def test_a_client_that_reconnects_with_a_fresh_ticket_misses_nothing(application, site, old):
    ticket = await amake_ticket("orders")  # as a page gets it whose own has expired
    url = f"{WATCH}?last_event_id={old[3]}&ticket={ticket}"
    assert named(await begins(application, site, url)) == ["4"]


async def test_a_ticket_goes_back_to_its_start_and_no_further(application, site, old, settings):
    early = await amake_ticket("orders", since=old[0])
    url = f"{WATCH}?last_event_id={old[1]}&ticket={early}"  # a page that slept for two hours
    assert named(await begins(application, site, url)) == ["2", "3", "4"]
    settings.ERIC_SSE = {"WATCH_REPLAY_S": 0}
    ticket = await amake_ticket("orders", since=old[3])
    for asked, shown in ((old[3], ["4"]), (old[4], []), (0, [RESET, "4"])):
        url = f"{WATCH}?last_event_id={asked}&ticket={ticket}"
        assert named(await begins(application, site, url)) == shown
    # Given on purpose, also all that there is.
    everything = await amake_ticket("orders", since=0)
    url = f"{WATCH}?last_event_id=0&ticket={everything}"
    assert named(await begins(application, site, url)) == ["0", "1", "2", "3", "4"]


async def test_every_client_may_go_back_one_hour(application, site, old, settings):
    await Channel.objects.aupdate(access=Channel.Access.EVERYONE)
    url = f"{WATCH}?last_event_id=0"
    assert named(await begins(application, site, url)) == [RESET, "3", "4"]
    header = [(b"last-event-id", str(old[3]).encode())]
    assert named(await begins(application, site, WATCH, headers=header)) == ["4"]
    settings.ERIC_SSE = {"WATCH_REPLAY_S": 0}
    assert named(await begins(application, site, url)) == [RESET]


async def test_a_listener_goes_back_to_its_own_start(application, site, old):
    listener = await site.channel.aadd_listener(listener_id="l")
    await listener.astart()
    await site.publish("its own")
    url = f"{WATCH}l/?last_event_id=0&ticket={await amake_ticket('orders', 'l')}"
    assert named(await begins(application, site, url)) == ['"its own"']


@databases.on("sqlite", "postgres", "mariadb")
async def test_many_clients_that_go_back_cost_one_query(database):
    looks = []

    async def run(function, *args):
        looks.append(args)
        return await sync_to_async(function)(*args)

    past = Past(log.DATABASE, run)
    heads = await asyncio.gather(*(past.position(3_600) for _ in range(500)))
    head, _ = await sync_to_async(log.head)()
    assert heads == [head] * 500
    assert len(looks) == 1
    await past.position(60)
    assert len(looks) == 2


async def test_a_lookup_that_failed_is_repeated_and_a_cancelled_caller_affects_no_other():
    answers = [OperationalError("unavailable"), 7]
    going = asyncio.Event()

    async def run(function, *args):
        await going.wait()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    past = Past(log.DATABASE, run)
    leaving, staying = (asyncio.ensure_future(past.position(60)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    going.set()
    with pytest.raises(OperationalError):
        await staying
    assert await past.position(60) == 7
    assert await past.position(60) == 7
    assert answers == []
