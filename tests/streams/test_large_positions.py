"""Positions past 2^53, where JavaScript's numbers end: every digit arrives."""

import json

import pytest
from asgiref.sync import sync_to_async

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import RESET
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, LogHead
from tests.databases import sqlite_only
from tests.streams.reading import Site

# Past the last whole number that JavaScript has with all before it: of two, it has one.
EXACT = 2**53 + 8


def put_head(position):
    using = log.database()
    head = {"position": position}
    LogHead.objects.using(using).update_or_create(pk=LogHead.THE_ONE, defaults=head)


@pytest.fixture
async def far_site(database):
    """Return a Site on a log whose next positions are past 2^53."""
    await sync_to_async(put_head)(EXACT - 2)
    site = Site(await DatabaseChannel.acreate("orders"))
    yield site
    await site.close()


async def test_messages_come_in_order_past_the_border_live_and_from_the_log(far_site):
    listener = await far_site.listener()
    live = await far_site.read(listener)
    for number in range(5):
        await far_site.publish(number)
    expected = list(range(EXACT - 1, EXACT + 4))
    assert await live.count(5) == ["0", "1", "2", "3", "4"]
    assert [event.last_event_id for event in live.events] == [str(each) for each in expected]
    # With an odd id, and without the ring buffer: as a browser that reconnects.
    await Hub.close_all()
    again = await far_site.read(listener, EXACT + 1)
    assert await again.count(2) == ["3", "4"]
    assert again.ids == [EXACT + 2, EXACT + 3]


async def test_cursors_are_kept_past_the_border(far_site):
    listener = await far_site.listener()
    reader = await far_site.read(listener)
    await far_site.publish(*range(4))
    await reader.count(4)
    await far_site.hub.records.write()
    await listener.arefresh_from_db()
    assert listener.cursor == EXACT + 2


@sqlite_only
async def test_a_reset_past_the_border_has_exact_positions(far_site):
    listener = await far_site.listener()
    channels = Channel.objects.using(log.database())
    await channels.aupdate(floor=EXACT + 1)
    await far_site.publish(1, 2, 3, 4, 5)
    await far_site.at_head()
    await Hub.close_all()
    reader = await far_site.read(listener, EXACT - 2)
    await reader.until(lambda: reader.events)
    (reset,) = [event for event in reader.events if event.type == RESET]
    assert json.loads(reset.data) == {"after": EXACT - 2, "floor": EXACT + 1}
    assert reset.last_event_id == str(EXACT + 1)


@sqlite_only
def test_a_queue_continues_past_the_border(database):
    put_head(EXACT - 2)
    orders = DatabaseChannel.create("orders")
    listener = orders.add_listener()
    listener.start()
    for number in range(4):
        orders.broadcast(Message("n", number))
    assert [orders.deliver_next(listener.id).payload for _ in range(4)] == [0, 1, 2, 3]
