"""The template tags: their output, the owners of their tickets, and that no message is lost."""

import json
from html import unescape
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.urls import path

from eric_sse_django import log, notifier
from eric_sse_django.authorization import Authorizer, read_ticket, revoke
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, LogHead, OpenStream, Revocation
from eric_sse_django.routing import with_streams
from eric_sse_django.shortcuts import acursor, cursor, listen
from tests import databases
from tests.streams.asgi import Response, inner
from tests.tickets import ids_of, is_void

once = databases.sqlite_rolled_back


class OwnRules(Authorizer):
    """A project's rule, which templates do not call."""

    def can_watch(self, user, channel):
        raise AssertionError("it was called")


def page_with_a_ticket(request):
    return HttpResponse(render("{% eric_watch_url 'orders' %}", request=request))


urlpatterns = [path("", page_with_a_ticket)]


def render(text, **context):
    return Template("{% load eric_sse %}" + text).render(Context(context))


def ticket_in(url):
    [text] = parse_qs(urlsplit(url).query)["ticket"]
    return read_ticket(text)


@pytest.fixture
def orders(database):
    return DatabaseChannel.create("orders")


@pytest.fixture
def request_of(database):
    """Return a function: a request of a user, with a session."""

    def request(user):
        found = RequestFactory().get("/")
        found.user, found.session = user, SessionStore()
        found.session.create()
        return found

    return request


class Links(HTMLParser):
    """The `data-url` attributes of a page, as a browser reads them."""

    def __init__(self, page):
        super().__init__()
        self.urls = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.urls += [value for name, value in attrs if name == "data-url"]


@once
def test_the_cursor_is_the_current_head(orders):
    LogHead.objects.update_or_create(pk=LogHead.THE_ONE, defaults={"position": 1_204})
    orders.broadcast(Message("paid", 1))
    notifier.settle()
    head, _ = log.head()
    assert head > 1_204
    assert render("{% eric_cursor %}") == str(head) == str(cursor())
    with override_settings(USE_THOUSAND_SEPARATOR=True):
        assert render("{% eric_cursor as at %}{{ at }}") == str(head)
    assert render("{% autoescape off %}{% eric_cursor %}{% endautoescape %}") == str(head)


@once
def test_the_url_in_an_attribute_is_complete(orders):
    [url] = Links(
        render('<i data-url="{% eric_watch_url "orders" cursor=7 unbound=True %}">')
    ).urls
    assert urlsplit(url).path == "/events/orders/"
    assert parse_qs(urlsplit(url).query)["last_event_id"] == ["7"]
    assert ids_of(ticket_in(url)) == ("orders", None)


@pytest.mark.parametrize("hostile", ['"><script>alert(1)</script>', "'onload='x", "a/b?c=d&e#f"])
@once
def test_markup_in_an_id_stays_in_the_attribute(database, hostile):
    page = render(
        '<i data-url="{% eric_watch_url id unbound=True %}" '
        "data-x='{% eric_watch_url id unbound=True %}'>",
        id=hostile,
    )
    assert "<script" not in page
    [url] = Links(page).urls
    assert urlsplit(url).path.count("/") == 3
    assert ids_of(ticket_in(url)) == (hostile, None)


@once
def test_a_listeners_url_has_a_ticket_for_it(orders):
    listener = listen("orders", listener_id="till-7")
    text = '<i data-url="{% eric_stream_url listener unbound=True %}">'
    [url] = Links(render(text, listener=listener)).urls
    assert urlsplit(url).path == "/events/orders/till-7/"
    assert "last_event_id" not in url
    assert ids_of(ticket_in(url)) == ("orders", "till-7")
    text = "{% eric_stream_url it cursor=at unbound=True as url %}{{ url|safe }}"
    page = render(text, it=listener, at=9)
    assert "?last_event_id=9&ticket=" in page


@pytest.mark.parametrize(
    "text",
    [
        "{% eric_stream_url unknown %}",
        '{% eric_stream_url "till-7" %}',
        "{% eric_watch_url unknown %}",
        '{% eric_watch_url "orders" cursor=unknown unbound=True %}',
        '{% eric_watch_url "orders" cursor=-1 unbound=True %}',
    ],
)
@once
def test_a_name_that_the_template_does_not_have_is_an_error(database, text):
    with pytest.raises((TypeError, ValueError), match=r"take|pass"):
        render(text)


class TestTheOwnerOfATicket:
    @once
    def test_it_is_bound_to_the_user_and_the_session(self, orders, request_of, django_user_model):
        ana = django_user_model.objects.create(username="ana")
        request = request_of(ana)
        for text in ('{% eric_watch_url "orders" %}', "{% eric_stream_url listener %}"):
            for voids in ({"user": ana}, {"session": request.session.session_key}):
                listener = listen("orders", listener_id="till-7")
                ticket = ticket_in(render(text, request=request, listener=listener))
                assert ticket.user == str(ana.pk)
                assert not is_void(ticket)
                revoke(**voids)
                assert is_void(ticket)
                Revocation.objects.all().delete()

    @once
    def test_a_visitors_ticket_is_bound_to_the_session_only(self, orders, request_of):
        request = request_of(AnonymousUser())
        ticket = ticket_in(render('{% eric_watch_url "orders" %}', request=request))
        assert ticket.user is None
        assert ticket.session

    @pytest.mark.parametrize(
        ("options", "context"),
        [("", {"request": RequestFactory().get("/")}), ("unbound=True", {})],
    )
    @once
    def test_without_a_session_or_unbound_it_has_no_owner(self, orders, options, context):
        ticket = ticket_in(render(f'{{% eric_watch_url "orders" {options} %}}', **context))
        assert (ticket.user, ticket.session) == (None, frozenset())

    @pytest.mark.parametrize("tag", ['eric_watch_url "orders"', "eric_stream_url listener"])
    @once
    def test_without_a_request_the_error_names_what_is_missing(self, orders, tag):
        listener = listen("orders", listener_id="till-7")
        with pytest.raises(ValueError, match=r"context has no request\. .* unbound=True"):
            render(f"{{% {tag} %}}", listener=listener)

    @once
    def test_there_is_no_ticket_if_the_session_opens_the_stream(
        self, orders, client, request_of, django_user_model, settings
    ):
        ana = django_user_model.objects.create(username="ana")
        mine, other = listen("orders", owner=ana), listen("orders", listener_id="till-7")
        client.force_login(ana)
        request = request_of(ana)
        request.session = client.session
        text = "{% eric_stream_url listener %}"
        assert "ticket" not in render(text, request=request, listener=mine)
        assert ticket_in(render(text, request=request, listener=other)).user == str(ana.pk)
        # The session does not open it for a token, or for a path that the cookie does not cover.
        assert "ticket" in render(text, request=request_of(ana), listener=mine)
        settings.SESSION_COOKIE_PATH = "/app/"
        assert "ticket" in render(text, request=request, listener=mine)

    @once
    def test_there_is_no_ticket_if_the_access_of_the_channel_opens_the_stream(
        self, orders, client, request_of, django_user_model, settings
    ):
        ana = django_user_model.objects.create(username="ana")
        client.force_login(ana)
        known, visitor = request_of(ana), request_of(AnonymousUser())
        known.session = client.session
        text = '{% eric_watch_url "orders" cursor=3 %}'
        orders.row.access = Channel.Access.EVERYONE
        orders.row.save()
        assert render(text) == render(text, request=visitor) == "/events/orders/?last_event_id=3"
        orders.row.access = Channel.Access.USERS
        orders.row.save()
        assert "ticket" not in render(text, request=known)
        assert ticket_in(unescape(render(text, request=visitor))).since == 3
        # A project's own rule is not called: it may query, and may be a coroutine.
        settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.OwnRules"}
        assert "ticket" in render(text, request=known)

    @once
    def test_the_page_varies_by_the_cookie(self, orders, client, django_user_model, settings):
        settings.ROOT_URLCONF = __name__
        client.force_login(django_user_model.objects.create(username="ana"))
        answer = client.get("/")
        assert ticket_in(answer.content.decode()).user
        assert answer["Vary"] == "Cookie"


# Between rendering and connecting -----------------------------------------------------


@pytest.fixture
async def channel(database):
    yield await DatabaseChannel.acreate("orders")
    await Hub.close_all()


PAGE = '{% eric_cursor as at %}<i data-url="{% eric_watch_url "orders" cursor=at unbound=True %}">'


async def connect(page):
    [url] = Links(page).urls
    return Response(with_streams(inner), url)


@databases.on("sqlite", "postgres", "mariadb")
async def test_messages_published_before_the_page_connects_are_delivered(channel):
    await channel.abroadcast(Message("paid", "before the page"))
    await sync_to_async(notifier.flush)()
    page = await sync_to_async(render)(PAGE)
    for number in range(3):
        await channel.abroadcast(Message("paid", number))
    async with await connect(page) as response:
        await channel.abroadcast(Message("paid", 3))
        assert [json.loads((await response.event()).data) for _ in range(4)] == [0, 1, 2, 3]
        await response.leave()
    assert not await Listener.objects.aexists()
    assert not await OpenStream.objects.aexists()


@databases.sqlite_only
async def test_a_message_in_the_data_and_after_the_cursor_is_delivered_again(channel):
    at = await acursor()
    await channel.abroadcast(Message("paid", {"id": 7, "total": 3}))
    data = {7: 3}  # queried after the cursor, so it includes the message
    page = await sync_to_async(render)(
        '<i data-url="{% eric_watch_url "orders" cursor=at unbound=True %}">', at=at
    )
    async with await connect(page) as response:
        order = json.loads((await response.event()).data)
        assert data | {order["id"]: order["total"]} == data
        await response.leave()
