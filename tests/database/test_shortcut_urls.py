"""The URL of one stream of several channels, and from where on a page listens."""

from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory

from eric_sse_django.authorization import read_ticket
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message
from eric_sse_django.routing import with_streams
from eric_sse_django.shortcuts import acursor, listen, stream_url, streams_url, watch_url
from tests import databases
from tests.streams.asgi import Response, inner

once = databases.sqlite_rolled_back


@pytest.fixture
def request_of_a_session(database):
    request = RequestFactory().get("/")
    request.user, request.session = AnonymousUser(), SessionStore()
    request.session.create()
    return request


def query(url, but="ticket"):
    return [(name, value) for name, value in parse_qsl(urlsplit(url).query, True) if name != but]


def tickets(url):
    found = parse_qs(urlsplit(url).query)["ticket"]
    return [(ticket.channel, ticket.listener) for ticket in map(read_ticket, found)]


@once
def test_a_watch_url_names_the_channels_only(database):
    url = streams_url([("a", None), ("+b@", None)])
    assert urlsplit(url).path == "/events/"
    assert query(url) == [("channel", "a"), ("channel", "+b@")]
    assert tickets(url) == [("a", None), ("+b@", None)]


@once
def test_a_channel_has_its_listener_or_none(channel):
    url = streams_url([("orders", listen("orders", listener_id="x")), ("b", None), ("c", "y")])
    assert query(url) == [
        *(("channel", name) for name in ("orders", "b", "c")),
        *(("listener", name) for name in ("x", "", "y")),
    ]
    assert tickets(url) == [("orders", "x"), ("b", None), ("c", "y")]


@pytest.mark.parametrize("names", ["", "aa", "abcd"])
@once
def test_channels_that_no_stream_serves_are_an_error(database, settings, names):
    settings.ERIC_SSE = {"MAX_CHANNELS_PER_STREAM": 3}
    with pytest.raises(ValueError, match="serves 1 to 3 channels"):
        streams_url([(name, None) for name in names])


@once
def test_the_tickets_are_the_sessions_of_a_request(channel, request_of_a_session):
    listener = listen("orders")
    for url in (
        streams_url([("orders", None), ("b", None)], request_of_a_session),
        watch_url("orders", request=request_of_a_session),
        stream_url(listener, request=request_of_a_session),
    ):
        for text in parse_qs(urlsplit(url).query)["ticket"]:
            assert read_ticket(text).session


@once
def test_without_ticket_and_request_a_listeners_stream_is_its_owners(channel):
    assert "?" not in stream_url(listen("orders"))
    assert query(stream_url(listen("orders"), cursor=7)) == [("last_event_id", "7")]


@once
def test_a_cursor_is_a_position(database):
    assert query(watch_url("orders", cursor=0)) == [("last_event_id", "0")]
    for wrong in ("", "x", -1, 1.5):
        with pytest.raises(ValueError, match="is not a position"):
            watch_url("orders", cursor=wrong)


@databases.sqlite_only
async def test_one_stream_serves_all_channels_from_the_cursor(database):
    channels = [await DatabaseChannel.acreate(name) for name in ("a", "b", "c")]
    listener = await channels[1].aadd_listener(listener_id="till-7")
    await listener.astart()
    at = await acursor()
    for number, channel in enumerate(channels):
        await channel.abroadcast(Message("n", number))
    await channels[1].adispatch("till-7", Message("n", 3))
    url = streams_url([("a", None), ("b", listener), ("c", None)], cursor=at)
    async with Response(with_streams(inner), url) as response:
        assert [(await response.event()).data for _ in range(4)] == ["0", "1", "2", "3"]
        await response.leave()
    await Hub.close_all()
