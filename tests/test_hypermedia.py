"""What libraries read: frames, elements, and what cannot be published."""

import re
from pathlib import Path

import pytest
from datastar_py import ServerSentEventGenerator
from datastar_py.consts import ElementPatchMode
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.test import override_settings

from eric_sse_django import conf, notifier, wire
from eric_sse_django.broadcasts import Broadcast
from eric_sse_django.database import DatabaseChannel, DatabaseQueue
from eric_sse_django.hypermedia import (
    LIBRARIES,
    abroadcast_template,
    broadcast_template,
    element,
    operations,
    selector_of,
)
from eric_sse_django.shortcuts import alisten, listen
from tests import databases
from tests.databases import sqlite_rolled_back
from tests.shop.models import Order

ROW = '<tr id="order-7">\n<td>a</td>\n</tr>\n'
MODES = {"append": "append", "replace": "outer", "update": "inner", "before": "before"}


def frame(operation):
    return wire.encode(operation.type, operation.text).decode()


@pytest.fixture
def channel(database):
    return DatabaseChannel.create("orders", format="text")


def render(text, **context):
    return Template("{% load eric_sse %}" + text).render(Context(context))


@pytest.mark.parametrize("action", MODES)
def test_datastar_gets_what_its_own_sdk_sends(action):
    [found] = operations("datastar", action, "#rows", ROW)
    expected = ServerSentEventGenerator.patch_elements(
        ROW, "#rows", ElementPatchMode(MODES[action])
    )
    assert fields(frame(found)) == fields(expected)


def test_datastar_removes_as_its_own_sdk_does():
    [found] = operations("datastar", "remove", "order-7")
    expected = ServerSentEventGenerator.patch_elements(
        selector="#order-7", mode=ElementPatchMode.REMOVE
    )
    assert fields(frame(found)) == fields(expected)


def fields(text):
    """Return the event's name, and what its data sets; the default mode may be left out."""
    lines = [line.split(": ", 1) for line in text.strip().splitlines()]
    data = [value.split(" ", 1) for name, value in lines if name == "data"]
    found = {"mode": ["outer"], "event": [dict(lines)["event"]]}
    for name in {name for name, *_ in data}:
        found[name] = [rest[0] for each, *rest in data if each == name and rest and rest[0]]
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_library_has_an_element_and_each_action(library):
    assert set(LIBRARIES) == set(conf.LIBRARIES)
    assert "/events/orders/?a=1&amp;b=2" in element(library, "/events/orders/?a=1&b=2", "orders")
    for action in ("append", "prepend", "replace", "update", "before", "after"):
        [found] = operations(library, action, "rows", ROW)
        assert "order-7" in found.text
    for action in ("remove", "refresh"):
        [found] = operations(library, action, "rows")
        assert found.text


@pytest.mark.parametrize(
    ("html", "parent"),
    [(ROW, "tbody"), ("<!-- a --> <li>", "ul"), ("<p>", "div"), ("text", "div"), ("<td>", "tr")],
)
def test_htmx_2_gets_elements_in_what_may_contain_them(html, parent):
    [found] = operations("htmx2", "append", "rows", html)
    assert found.text.startswith(f'<{parent} hx-swap-oob="beforeend:#rows">')


def test_a_target_is_an_id_or_a_selector():
    for target, expected in {"rows": "#rows", "#rows": "#rows", ".a b": ".a b"}.items():
        [found] = operations("plain", "remove", target)
        assert f'data-target="{expected}"' in found.text
    [found] = operations("turbo", "remove", ".total")
    assert 'targets=".total"' in found.text
    [found] = operations("turbo", "remove", "total")
    assert 'target="total"' in found.text


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("order-7", "#order-7"),
        ("user:a.b@c", "#user\\:a\\.b\\@c"),
        ("7", "#\\37 "),
        ("-7a", "#-\\37 a"),
        ("-", "#\\2d "),
        ("ж_a b", "#ж_a\\ b"),
        ("a\nb\x00", "#a\\a b\\0 "),
    ],
)
def test_the_selector_of_an_id_finds_any_id(name, selector):
    assert selector_of(name) == selector


def test_the_id_of_a_target_may_have_characters_of_selectors():
    [found] = operations("turbo", "remove", "user:a.b")
    assert 'targets="#user\\:a\\.b"' in found.text


def test_a_key_adds_no_fields_to_what_datastar_reads():
    """As of a row whose primary key is a text that users choose."""
    html = "x\nelements <script>alert(1)</script>"
    declared = Broadcast("orders", template="shop/row.html", target="rows", library="datastar")
    [found] = declared.deleted(Order, html)
    assert [line.split(" ")[0] for line in found.payload.splitlines()] == ["selector", "mode"]
    with pytest.raises(ValueError, match="control character"):
        operations("datastar", "remove", f"#{html}")


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no library"):
        operations("jquery", "append", "rows")
    with pytest.raises(ValueError, match="no action"):
        operations("turbo", "explode", "rows")
    with pytest.raises(ValueError, match="needs a target"):
        operations("turbo", "append")
    with pytest.raises(ValueError, match="no library"):
        element("jquery", "", "")


@sqlite_rolled_back
def test_a_template_is_published_as_the_library_of_the_settings_reads_it(channel):
    listener = listen("orders")
    order = {"pk": 7, "number": "<b>", "total": 3}
    with override_settings(ERIC_SSE={"HYPERMEDIA": "turbo"}):
        broadcast_template("orders", "shop/row.html", {"order": order}, target="rows")
    broadcast_template("orders", target="rows", action="remove", library="htmx4")
    first, second = channel.deliver_next(listener.id), channel.deliver_next(listener.id)
    assert first.type == ""
    assert first.payload.startswith('<turbo-stream action="append" target="rows"><template><tr')
    assert "&lt;b&gt;" in first.payload
    assert second.payload == '<div hx-swap-oob="delete:#rows"></div>'


@sqlite_rolled_back
def test_a_template_for_an_owner_is_published_to_that_owner_only(channel, django_user_model):
    ada, bob = (django_user_model.objects.create(username=name) for name in ("ada", "bob"))
    listeners = [listen("orders", user) for user in (ada, bob)]
    broadcast_template("orders", target="a", action="remove", library="plain", owner=ada)
    notifier.settle()
    assert [len(DatabaseQueue(each.row)) for each in listeners] == [1, 0]
    with pytest.raises(ValueError, match="owner is None"):
        broadcast_template("orders", target="a", action="remove", library="plain", owner=None)


@sqlite_rolled_back
def test_what_cannot_be_shown_is_refused(channel):
    DatabaseChannel.create("numbers")
    with pytest.raises(ValueError, match="needs a channel of the format text"):
        broadcast_template("numbers", target="a", action="remove", library="plain")
    with pytest.raises(ValueError, match="needs a template"):
        broadcast_template("orders", target="a", library="plain")
    with pytest.raises(ImproperlyConfigured, match="HYPERMEDIA"):
        broadcast_template("orders", target="a", action="remove")


@sqlite_rolled_back
def test_the_tag_writes_a_stream_of_a_channel_or_a_listener(channel):
    listener = listen("orders", listener_id="page")
    html = render("{% eric_stream listener library='htmx2' unbound=True %}", listener=listener)
    assert 'sse-connect="/events/orders/page/?ticket=' in html
    html = render("{% eric_stream 'orders' library='turbo' unbound=True %}")
    assert '<turbo-stream-source src="/events/orders/?' in html
    assert "last_event_id=" in html
    html = render("{% eric_stream 'orders' library='htmx2' cursor=7 unbound=True %}")
    assert html.startswith("<eric-stream ")
    assert "last_event_id=7" in html
    with pytest.raises(ImproperlyConfigured, match="HYPERMEDIA"):
        render("{% eric_stream 'orders' unbound=True %}")


@sqlite_rolled_back
def test_unread_messages_are_those_that_were_not_acknowledged(channel):
    listener = listen("orders", listener_id="page", acknowledgement="client")
    assert render("{% eric_unread listener %}", listener=listener) == "0"
    for _ in range(3):
        broadcast_template("orders", target="a", action="remove", library="plain")
    assert render("{% eric_unread listener %}", listener=listener) == "3"
    with pytest.raises(TypeError, match="takes a listener"):
        render("{% eric_unread 'page' %}")
    assert render("{% eric_online 'orders' as online %}{{ online.users|length }}") == "0"


@databases.sqlite_only
async def test_coroutines_publish_templates_too(channel):
    listener = await alisten("orders")
    await abroadcast_template("orders", target="a", action="remove", library="plain")
    assert "data-action" in (await channel.adeliver_next(listener.id)).payload


@sqlite_rolled_back
def test_the_blocks_of_the_page_do_what_they_describe(database, settings, rf):
    page = (Path(__file__).parents[1] / "docs" / "hypermedia.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    configured, published = (code for language, code in blocks if language == "python")
    [shown] = (code for language, code in blocks if language == "django")
    namespace = {}
    exec(configured, namespace)
    settings.ERIC_SSE = namespace["ERIC_SSE"]
    for name, options in conf.channels().items():
        DatabaseChannel.create(name, **options)
    listener = listen("orders")
    exec(published, namespace)
    channel = DatabaseChannel.load("orders")
    received = [channel.deliver_next(listener.id).payload for _ in range(4)]
    actions = [re.search(r'action="(\w+)"', text)[1] for text in received]
    assert actions == ["append", "replace", "remove", "refresh"]
    request = rf.get("/")
    request.user = AnonymousUser()
    request.session = SessionStore()
    orders = [{"pk": 7, "number": "A-7", "total": 3}]
    html = Template(shown).render(Context({"request": request, "orders": orders}))
    assert html.index("<turbo-stream-source ") < html.index('<tr id="order-7">')
