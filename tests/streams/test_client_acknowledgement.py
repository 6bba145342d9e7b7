"""A listener whose client acknowledges: what it has not acknowledged is sent again."""

import pytest

from eric_sse_django.message import Message
from eric_sse_django.models import Listener
from tests.databases import on


@pytest.fixture
async def listener(site):
    row = await site.listener()
    row.acknowledgement = Listener.Acknowledgement.CLIENT.value
    await site.save(row)
    return row


async def cursor_of(site, listener):
    await site.hub.records.write()
    await site.refresh(listener)
    return listener.cursor


async def test_messages_that_were_not_acknowledged_are_sent_again_with_the_same_ids(
    site, listener
):
    before = listener.cursor
    first = await site.read(listener)
    await site.publish(1, 2)
    await first.count(2)
    assert await cursor_of(site, listener) == before
    second = await site.read(listener)
    assert await second.count(2) == ["1", "2"]
    assert second.ids == first.ids


@on("memory", "sqlite")
async def test_the_id_that_a_client_reconnects_with_acknowledges(database, site, listener):
    first = await site.read(listener)
    await site.publish(1, 2, 3)
    await first.count(3)
    second = await site.read(listener, first.ids[1])
    assert await second.count(1) == ["3"]
    assert await cursor_of(site, listener) == first.ids[1]
    third = await site.read(listener)
    assert await third.count(1) == ["3"]


async def test_an_id_above_the_head_acknowledges_nothing(site, listener):
    await site.publish(1)
    await site.at_head()
    await site.read(listener, 2**62)
    assert await cursor_of(site, listener) == listener.cursor
    await site.publish(2)
    assert await (await site.read(listener)).count(2) == ["1", "2"]


async def test_an_earlier_id_does_not_move_the_cursor_back(site, listener):
    reader = await site.read(listener)
    await site.publish(1, 2)
    await reader.count(2)
    await site.read(listener, reader.ids[1])
    assert await cursor_of(site, listener) == reader.ids[1]
    again = await site.read(listener, reader.ids[0])
    assert await again.count(1) == ["2"]
    assert await cursor_of(site, listener) == reader.ids[1]


@pytest.mark.django_db(transaction=True)
async def test_taking_a_message_acknowledges_it(site, listener):
    reader = await site.read(listener)
    await site.channel.abroadcast(Message("n", 1))
    await reader.count(1)
    assert (await site.channel.adeliver_next(listener.name)).payload == 1
    assert await cursor_of(site, listener) == reader.ids[0]
