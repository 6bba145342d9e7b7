"""Several channels in one stream: one order, one id, each event names its channel."""

import pytest

from eric_sse_django.authorization import make_ticket
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests.streams.asgi import Response, answer, session_of


@pytest.fixture
async def other(site):
    return await DatabaseChannel.acreate("stock")


@pytest.fixture
async def listeners(site, other):
    """Return running listeners "l" of both channels."""
    made = [await channel.aadd_listener(listener_id="l") for channel in (site.channel, other)]
    for listener in made:
        await listener.astart()
    return made


def path(*places, ticketed=True):
    parts = [f"channel={channel}&listener={listener or ''}" for channel, listener in places]
    if ticketed:
        parts += [f"ticket={make_ticket(*place)}" for place in places]
    return "/events/?" + "&".join(parts)


async def test_events_come_in_one_order_with_one_id_and_their_channels_name(
    application, site, other
):
    async with Response(application, path(("orders", None), ("stock", None))) as response:
        for number in range(3):
            await site.channel.abroadcast(Message("paid", number))
            await other.abroadcast(Message("left", number))
        events = [await response.event() for _ in range(6)]
    assert [(event.type, event.data) for event in events] == [
        (name, str(number)) for number in range(3) for name in ("orders/paid", "stock/left")
    ]
    ids = [int(event.last_event_id) for event in events]
    assert ids == sorted(set(ids))


async def test_each_listener_gets_its_own_and_its_cursor_moves(
    application, site, other, listeners
):
    async with Response(application, path(("orders", "l"), ("stock", "l"))) as response:
        await other.adispatch("l", Message("n", "to stock's l"))
        await site.channel.adispatch("l", Message("n", "to orders' l"))
        events = [await response.event() for _ in range(2)]
    assert [event.type for event in events] == ["stock/n", "orders/n"]
    await site.hub.records.write()
    for listener in listeners:
        await listener.arefresh()
        assert listener.row.cursor == int(events[-1].last_event_id)


async def test_an_owners_message_reaches_only_the_channel_it_was_published_to(
    application, site, other, admin_user
):
    mine = await site.channel.aadd_listener(owner=admin_user, listener_id="mine")
    await mine.astart()
    async with Response(application, path(("orders", "mine"), ("stock", None))) as response:
        await other.adispatch_to_owner(admin_user, Message("n", "not for a watcher"))
        await site.channel.adispatch_to_owner(admin_user, Message("n", "for the listener"))
        event = await response.event()
    assert (event.type, event.data) == ("orders/n", '"for the listener"')


async def test_waiting_messages_are_merged_and_none_is_served_twice(
    application, site, other, listeners
):
    await site.channel.abroadcast(Message("n", "1"))
    await other.abroadcast(Message("n", "2"))
    await site.at_head()
    popped = await other.adeliver_next("l")
    assert popped.payload == "2"
    await site.channel.abroadcast(Message("n", "3"))
    await other.abroadcast(Message("n", "4"))
    async with Response(application, path(("orders", "l"), ("stock", "l"))) as response:
        data = [(await response.event()).data for _ in range(3)]
    assert data == ['"1"', '"3"', '"4"']  # stock's cursor stood behind "2"


async def test_the_id_of_one_stream_resumes_all_its_channels(application, site, other):
    before = await site.at_head()
    await site.channel.abroadcast(Message("n", 1))
    await other.abroadcast(Message("n", 2))
    await site.channel.abroadcast(Message("n", 3))
    url = path(("orders", None), ("stock", None))
    async with Response(application, f"{url}&last_event_id={before}") as response:
        events = [await response.event() for _ in range(3)]
        assert [event.data for event in events] == ["1", "2", "3"]
    async with Response(application, f"{url}&last_event_id={events[0].last_event_id}") as response:
        assert [(await response.event()).data for _ in range(2)] == ["2", "3"]


async def test_a_replay_concerns_its_listener_alone(application, site, other, listeners):
    from asgiref.sync import sync_to_async
    from django.utils import timezone

    from eric_sse_django.database import operations

    since = timezone.now()
    async with Response(application, path(("orders", "l"), ("stock", "l"))) as response:
        await site.channel.abroadcast(Message("n", 1))
        await other.abroadcast(Message("n", 2))
        assert [(await response.event()).data for _ in range(2)] == ["1", "2"]
        await sync_to_async(operations.replay)([listeners[1].row], since)
        await site.channel.abroadcast(Message("n", 3))
        events = [await response.event() for _ in range(2)]
    assert [event.data for event in events] == ["2", "3"]


async def test_text_and_json_channels_go_together(application, site):
    await DatabaseChannel.acreate("pages", format="text")
    async with Response(application, path(("orders", None), ("pages", None))) as response:
        await DatabaseChannel(site.channel.row).abroadcast(Message("n", "a"))
        pages = await DatabaseChannel.aload("pages")
        await pages.abroadcast(Message("row", "<b>\nb</b>"))
        events = [await response.event() for _ in range(2)]
    assert [(event.type, event.data) for event in events] == [
        ("orders/n", '"a"'),
        ("pages/row", "<b>\nb</b>"),
    ]


# Who may -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("", b"Name what to stream"),
        ("?channel=", b"Name what to stream"),
        ("?channel=orders&channel=", b"Name what to stream"),
        ("?listener=l", b"Name what to stream"),
        ("?channel=orders&channel=orders", b"named twice"),
        ("?channel=a&channel=b&channel=c&listener=x&listener=y", b"as often as `channel`"),
        ("?" + "&".join(f"channel=c{number}" for number in range(21)), b"too many"),
    ],
)
async def test_a_query_that_names_nothing_is_a_400(application, query, word):
    response = await answer(application, f"/events/{query}")
    assert response.status == 400
    assert word in response.body


async def test_one_channel_that_is_refused_refuses_the_stream(application, site, other, listeners):
    good, bad = ("orders", "l"), ("stock", "l")
    some = path(good, bad, ticketed=False) + f"&ticket={make_ticket(*good)}"
    assert (await answer(application, some)).status == 403
    unknown = path(good, ("nowhere", None), ticketed=False) + f"&ticket={make_ticket(*good)}"
    assert (await answer(application, unknown)).status == 403
    await listeners[1].astop()
    assert (await answer(application, path(good, bad))).status == 204


async def test_a_session_and_a_ticket_may_each_open_a_subscription(
    application, site, other, admin_user, listeners
):
    mine = await site.channel.aadd_listener(owner=admin_user, listener_id="mine")
    await mine.astart()
    url = path(("orders", "mine"), ("stock", "l"), ticketed=False)
    cookie = [(b"cookie", await session_of(admin_user))]
    assert (await answer(application, url, headers=cookie)).status == 403
    ticketed = f"{url}&ticket={make_ticket('stock', 'l')}"
    async with Response(application, ticketed, headers=cookie) as response:
        assert response.status == 200


async def test_one_listener_id_is_for_every_channel(application, site, other, listeners):
    url = "/events/?channel=orders&channel=stock&listener=l"
    url += "".join(f"&ticket={make_ticket(channel, 'l')}" for channel in ("orders", "stock"))
    async with Response(application, url) as response:
        await other.adispatch("l", Message("n", 1))
        assert (await response.event()).type == "stock/n"


async def test_admission_takes_as_many_queries_for_many_channels_as_for_two(
    application, site, django_assert_max_num_queries
):
    from asgiref.sync import sync_to_async

    from eric_sse_django.consumers.admission import targets_of

    ids = []
    for number in range(10):
        channel = await DatabaseChannel.acreate(f"c{number}")
        await channel.aadd_listener(listener_id="l")
        ids += [(f"c{number}", "l"), (f"c{number}", None)]

    def look():
        with django_assert_max_num_queries(2):
            return targets_of([*ids, ("c1", "\0"), ("C1", None)])[0]

    *found, nothing, other = (await sync_to_async(look)()).values()
    assert [(channel.name, listener and listener.name) for channel, listener in found] == ids
    assert nothing is other is None
