"""Streams over ASGI: the answer to each request, never a 500."""

import asyncio
import json
import logging
import threading
from urllib.parse import quote

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as project_settings
from django.db import OperationalError

from eric_sse_django.authorization import make_ticket
from eric_sse_django.consumers import admission, base
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import RESET
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message
from eric_sse_django.routing import with_streams
from tests.databases import on
from tests.streams.asgi import Response, answer, inner, session_of


@pytest.fixture
async def listener(transactional_db, site):
    """Return a running listener "l" without an owner, of the channel "orders"."""
    listener = await site.channel.aadd_listener(listener_id="l")
    await listener.astart()
    return listener


def path(channel="orders", listener="l", ticket=True, **options):
    end = f"{channel}/{listener}/" if listener else f"{channel}/"
    query = f"?ticket={make_ticket(channel, listener, **options)}" if ticket else ""
    return f"/events/{end}{query}"


# Answers -----------------------------------------------------------------------------


async def test_a_ticket_opens_the_stream(application, site, listener):
    async with Response(application, path()) as response:
        assert response.status == 200
        assert response.headers == {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store, no-transform",
            "x-accel-buffering": "no",
            "content-encoding": "identity",
            "vary": "Cookie, Origin",
        }
        await site.publish({"id": 1})
        event = await response.event()
        assert json.loads(event.data) == {"id": 1}
        assert len(site.hub.streams) == 1
        await response.leave()
        assert site.hub.streams == set()


async def test_a_channel_can_be_watched(application, site):
    async with Response(application, path(listener=None)) as response:
        await response.more()
        await site.publish(1)
        assert (await response.event()).data == "1"


async def test_head_has_the_headers_and_ends(application, site, listener):
    response = await answer(application, path(), "HEAD")
    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert site.hub.streams == set()


async def test_options_returns_the_methods(application):
    response = await answer(application, path(ticket=False), "OPTIONS")
    assert (response.status, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_other_methods_are_not_allowed(application, method):
    response = await answer(application, path(), method)
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("method", "at", "status"),
    [
        ("GET", "/events/orders/unknown/", 403),
        ("GET", "/events/", 400),
        ("POST", "/events/orders/", 405),
        ("OPTIONS", "/events/orders/", 204),
    ],
)
async def test_no_cache_keeps_a_refusal(application, site, method, at, status):
    response = await answer(application, at, method)
    assert (response.status, response.headers["cache-control"]) == (status, "no-store")


@pytest.mark.parametrize(("size", "status"), [(60_000, 403), (70_000, 431)])
async def test_a_head_that_is_too_large_is_refused_whatever_the_server_takes(
    application, size, status
):
    headers = [(b"x-much", b"x" * size)]
    response = await answer(application, path(ticket=False), headers=headers)
    assert response.status == status
    response = await answer(application, path(ticket=False) + "?" + "x" * size)
    assert response.status == (414 if status == 403 else status)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (b"text/event-stream", 403),
        (b"Text/Event-Stream;q=0.9, text/html", 403),
        (b"text/html, */*;q=0.1", 403),
        (b"text/*", 403),
        (b"text/html,application/json", 406),
        (b"\xff\xfe", 406),
    ],
)
async def test_a_client_that_does_not_accept_event_streams_gets_406(application, accept, status):
    headers = [(b"accept", accept)]
    response = await answer(application, path(ticket=False), headers=headers)
    assert response.status == status


@pytest.mark.parametrize("below", ["/", "a/b", "a", "a/b/c/", "/a/", "a//", "//"])
async def test_below_the_prefix_there_are_only_streams(application, below):
    response = await answer(application, f"/events/{below}")
    assert response.status == 404


@pytest.mark.parametrize("elsewhere", ["/", "/events", "/eventsx/a/", "/other/events/a/b/", ""])
async def test_other_paths_are_served_by_the_project(application, elsewhere):
    assert (await answer(application, elsewhere)).status == 299


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_protocols_are_served_by_the_project(application, kind):
    async with Response(application, "/events/orders/l/", type=kind) as response:
        assert (await response.end()).body == kind.encode()


@pytest.mark.parametrize("prefix", ["sse/", "api/v1/live/", "a.b/+x/"])
async def test_the_prefix_is_a_setting(settings, site, listener, prefix):
    settings.ERIC_SSE = {"URL_PREFIX": prefix}
    application = with_streams(inner)
    at = path().replace("events/", prefix)
    assert (await answer(application, at, "HEAD")).status == 200
    assert (await answer(application, path())).status == 299


@pytest.mark.parametrize("server_path", ["/site/events/orders/l/", "/events/orders/l/"])
async def test_a_root_path_may_be_part_of_the_path_or_not(
    application, site, listener, server_path
):
    at = path().replace("/events/orders/l/", server_path)
    response = await answer(application, at, "HEAD", root_path="/site")
    assert response.status == 200


async def test_a_root_path_is_not_cut_out_of_a_longer_word(application, site, listener):
    assert (await answer(application, path(), "HEAD", root_path="/e")).status == 200
    assert (await answer(application, "/eevents/a/", root_path="/e")).status == 299


async def test_ids_are_taken_as_they_stand_in_the_decoded_path(application, site):
    name = "a@b:c~d+e"
    listener = await site.channel.aadd_listener(listener_id=name)
    await listener.astart()
    assert (await answer(application, path(listener=name), "HEAD")).status == 200
    escaped = path(listener=name).replace(name, quote(name, safe=""))
    assert (await answer(application, escaped, "HEAD")).status == 403


# Admission -----------------------------------------------------------------------------


@pytest.fixture
async def ana(django_user_model, site):
    return await sync_to_async(django_user_model.objects.create_user)("ana", password="a")


@pytest.fixture
async def ben(django_user_model, site):
    return await sync_to_async(django_user_model.objects.create_user)("ben", password="b")


@pytest.fixture
async def anas(site, ana):
    listener = await site.channel.aadd_listener(ana, listener_id="anas")
    await listener.astart()
    return listener


@pytest.mark.parametrize("debug", [True, False])
async def test_a_session_gives_access_to_the_owner_only(
    application, site, settings, anas, ana, ben, debug
):
    settings.DEBUG = debug
    at = path(listener="anas", ticket=False)

    async def status(*headers, **scope):
        return (await answer(application, at, "HEAD", headers=list(headers), **scope)).status

    cookie = await session_of(ana)
    assert await status((b"cookie", cookie)) == 200
    assert await status((b"cookie", b"a=1"), (b"cookie", cookie)) == 200
    assert await status((b"Cookie", b"x=y; " + cookie)) == 200
    assert await status((b"cookie", await session_of(ben))) == 403
    assert await status() == 403
    assert await status(user=ana) == 200
    assert await status(user=ben) == 403
    ana.is_active = False
    await ana.asave()
    assert await status((b"cookie", cookie)) == 403


async def test_a_listener_without_owner_and_a_channel_need_a_ticket(
    application, site, listener, ana
):
    headers = [(b"cookie", await session_of(ana))]
    for at in (path(ticket=False), path(listener=None, ticket=False)):
        assert (await answer(application, at, headers=headers)).status == 403


def forged():
    return path()[:-2] + ("aa" if path()[-2:] != "aa" else "bb")


@pytest.mark.parametrize(
    "at",
    [
        lambda: path(ticket=False),
        forged,
        lambda: path(max_age_s=-1),
        lambda: path() + "x",
        lambda: f"/events/orders/l/?ticket={make_ticket('orders', 'other')}",
        lambda: f"/events/orders/l/?ticket={make_ticket('orders')}",
        lambda: f"/events/orders/l/?ticket={make_ticket('other', 'l')}",
        lambda: f"/events/orders/?ticket={make_ticket('orders', 'l')}",
        lambda: "/events/orders/l/?ticket=",
        lambda: "/events/orders/l/?ticket=" + "x" * 10_000,
        lambda: "/events/orders/l/?ticket=%00%ff%F0%9F",
        lambda: "/events/orders/l/?ticket=a:b:c",
    ],
)
@pytest.mark.parametrize("debug", [True, False])
async def test_an_invalid_ticket_is_forbidden(application, site, listener, settings, at, debug):
    settings.DEBUG = debug
    assert (await answer(application, at())).status == 403


async def test_existing_and_unknown_streams_get_the_same_answer(application, site, listener):
    answers = {
        (response.status, response.body)
        for response in [
            await answer(application, path(channel, listener, ticket=False))
            for channel in ("orders", "unknown", "\0", "x" * 200)
            for listener in ("l", "unknown", None, "\0", "ü")
        ]
    }
    assert len(answers) == 1


async def test_a_stopped_or_removed_listener_ends_its_clients_permanently(
    application, site, listener, anas, ana
):
    assert (await answer(application, path(listener="unknown"))).status == 204
    assert (await answer(application, path(channel="unknown"))).status == 204
    await listener.astop()
    response = await answer(application, path())
    assert (response.status, response.body) == (204, b"")
    await site.channel.aremove_listener("l")
    assert (await answer(application, path())).status == 204
    await anas.astop()
    headers = [(b"cookie", await session_of(ana))]
    at = path(listener="anas", ticket=False)
    assert (await answer(application, at, headers=headers)).status == 204


async def test_a_stream_ends_when_its_ticket_does(application, site, listener, fast_ticks):
    async with Response(application, path(max_age_s=0.5)) as response:
        assert response.status == 200
        await response.end()
    assert response.reader.retry_ms is not None


# What clients may send ---------------------------------------------------------------------


LAST_IDS = ["-1", "9e99", "abc", "1" * 10_000, "-" + "9" * 10_000, "", " ", "-", "--1", "1.5"]
LAST_IDS += ["٣", "0x10", "1_000", "+1", "\0", "null", "9223372036854775808"]


@pytest.mark.parametrize("text", LAST_IDS, ids=lambda text: repr(text[:12]))
@pytest.mark.parametrize("where", ["header", "query"])
async def test_no_last_event_id_loses_a_message(application, site, listener, text, where):
    await site.publish(1)
    await site.at_head()
    if where == "header":
        scope = {"headers": [(b"last-event-id", text.encode())]}
    else:
        scope = {"query_string": f"last_event_id={quote(text)}&{path().split('?')[1]}".encode()}
    async with Response(application, path(), **scope) as response:
        assert response.status == 200
        await site.publish(2)
        event = await response.event()
        # From the cursor if the id is unusable. So with an id above the head, with a reset.
        if text in ("1" * 10_000, "9223372036854775808"):
            assert event.type == RESET
            event = await response.event()
        assert event.data == "1"


async def test_the_header_counts_before_the_query(application, site, listener):
    await site.publish(1, 2, 3)
    head = await site.at_head()
    at = f"{path()}&last_event_id={head - 3}"
    async with Response(application, at) as response:
        assert (await response.event()).data == "1"
    headers = [(b"last-event-id", b"%d" % (head - 1))]
    async with Response(application, at, headers=headers) as response:
        assert (await response.event()).data == "3"


GARBAGE = [b"\xff\xfe\0", b"\0" * 100, b"%", b"%00%ff%zz", b"=&&;=", b"\xc3\x28", b"[" * 9_999]


@on("sqlite", "postgres")
@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_is_refused_without_an_error(database, application, site, garbage, caplog):
    owner = await sync_to_async(make_user)()
    listener = await site.channel.aadd_listener(owner, listener_id="l")
    await listener.astart()
    session = project_settings.SESSION_COOKIE_NAME.encode()
    text = garbage.decode("latin-1")
    requests = [
        {"query_string": garbage},
        {"query_string": b"ticket=" + garbage},
        {"query_string": b"last_event_id=" + garbage},
        {"headers": [(b"cookie", garbage)]},
        {"headers": [(b"cookie", session + b"=" + garbage)]},
        {"headers": [(b"cookie", session + b"=" + garbage.replace(b";", b"") * 9)]},
        {"headers": [(garbage, garbage), (b"last-event-id", garbage)]},
        {"path": f"/events/orders/{text}/".replace("//", "/")},
        {"path": f"/events/{text}/l/".replace("//", "/")},
    ]
    for scope in requests:
        at = scope.pop("path", "/events/orders/l/")
        response = await answer(application, at, **scope)
        assert response.status in (403, 404, 431), (at, scope)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def make_user():
    from django.contrib.auth.models import User

    return User.objects.create_user("owner")


async def test_a_body_is_neither_awaited_nor_kept(application, site, listener):
    response = Response(application, path())
    piece = {"type": "http.request", "body": b"x" * 65_536, "more_body": True}
    await response.send(piece)
    await response.more()
    assert response.status == 200
    for _ in range(100):
        await response.send(piece)
    await site.publish(1)
    assert (await response.event()).data == "1"
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert response._communicator.input_queue.empty()
    await response.leave()
    response = Response(application, path(), "POST")
    await response.send(piece)
    assert (await response.end()).status == 405


# Failures ------------------------------------------------------------------------------------


async def test_while_the_database_is_unavailable_clients_are_asked_to_retry(
    application, site, listener, monkeypatch
):
    def away(*args):
        raise OperationalError("gone")

    monkeypatch.setattr(admission, "targets_of", away)
    response = await answer(application, path())
    assert (response.status, response.complete) == (200, True)
    assert 3_000 <= response.reader.retry_ms <= 6_000
    assert (await answer(application, path(), "HEAD")).status == 503


async def test_a_database_that_hangs_is_awaited_for_a_bounded_time(
    application, site, listener, monkeypatch
):
    monkeypatch.setattr(base, "OPEN_TIMEOUT_S", 0.02)
    answered = threading.Event()
    monkeypatch.setattr(admission, "targets_of", lambda *_: answered.wait(30))
    response = await answer(application, path())
    assert response.status == 200
    assert not answered.is_set()  # the database did not end it
    answered.set()


async def test_a_bug_in_the_project_is_logged_and_ends_no_client(
    application, site, listener, monkeypatch, caplog
):
    monkeypatch.setattr(admission, "targets_of", lambda *_: 1 / 0)
    assert (await answer(application, path())).status == 200
    assert "ZeroDivisionError" in caplog.text


class Failing(DatabaseChannel):
    def adapt(self, msg):
        raise ZeroDivisionError


async def test_a_bug_in_adapt_is_logged_and_loses_nothing(
    application, site, listener, settings, caplog
):
    caplog.set_level(logging.INFO, "eric_sse_django")
    settings.ERIC_SSE = {"CHANNEL_CLASS": f"{__name__}.Failing"}
    await site.publish(1)
    await site.at_head()
    response = await answer(application, path())
    assert (response.status, response.events) == (200, [])
    assert "a message has no event" in caplog.text
    assert "reason=error" in caplog.text
    assert site.hub.streams == set()
    settings.ERIC_SSE = {}
    async with Response(application, path()) as response:
        assert (await response.event()).data == "1"


# Its end ----------------------------------------------------------------------------------------


async def test_a_stream_is_closed_and_logged_once(application, site, listener, caplog):
    caplog.set_level(logging.INFO, "eric_sse_django")
    async with Response(application, path()) as response:
        await site.publish(1)
        await response.event()
        await response.leave()
    closed = [record.getMessage() for record in caplog.records if "closed" in record.msg]
    assert closed == ["stream closed channel=orders listener=l sent=1 reason=client left"]


async def test_a_stop_ends_the_response(application, site, listener):
    async with Response(application, path()) as response:
        await listener.astop()
        await response.end()
        assert response.reader.retry_ms is not None


@pytest.mark.parametrize("why", ["client left", "send timeout"])
async def test_a_disconnect_is_handled_at_once_while_a_write_waits(
    application, site, listener, settings, fast_ticks, caplog, why
):
    caplog.set_level(logging.INFO, "eric_sse_django")
    settings.ERIC_SSE = {"SEND_TIMEOUT_S": 0.03 if why == "send timeout" else 60}
    gone, writing, messages = asyncio.Event(), asyncio.Event(), asyncio.Queue()
    messages.put_nowait({"type": "http.request"})

    async def send(message):
        if b"id: " in message.get("body", b"") and b"event:" in message["body"]:
            writing.set()
            await asyncio.Event().wait()

    async def receive():
        if messages.empty():
            await gone.wait()
            return {"type": "http.disconnect"}
        return await messages.get()

    scope = Response(application, path()).scope
    task = asyncio.create_task(application(scope, receive, send))
    while not site.hub.streams:
        await asyncio.sleep(0.001)
    await site.publish(1)
    await asyncio.wait_for(writing.wait(), 5)
    if why == "client left":
        gone.set()
    await asyncio.wait_for(task, 5)
    assert not task.cancelled()
    assert f"reason={why}" in caplog.text
    assert site.hub.streams == set()


async def test_a_send_that_fails_is_a_client_that_left(application, site, listener, caplog):
    caplog.set_level(logging.INFO, "eric_sse_django")

    async def send(message):
        raise OSError("the client is gone")

    async def receive():
        if not hasattr(receive, "was_called"):
            receive.was_called = True
            return {"type": "http.request"}
        return await asyncio.Event().wait()

    scope = Response(application, path()).scope
    await asyncio.wait_for(application(scope, receive, send), 5)
    assert "reason=client left" in caplog.text
    assert site.hub.streams == set()


async def test_while_the_server_stops_new_clients_are_asked_to_retry(application, site, listener):
    await site.hub.ready()
    site.hub.drain()
    response = await answer(application, path())
    assert response.status == 200
    assert 1_000 <= response.reader.retry_ms <= 6_000


async def test_text_is_sent_as_text(application, transactional_db):
    channel = await DatabaseChannel.acreate("html", format="text")
    async with Response(application, path("html", None)) as response:
        await response.more()
        await channel.abroadcast(Message("row", "<tr>\n</tr>"))
        event = await response.event()
        assert (event.type, event.data) == ("row", "<tr>\n</tr>")
    await Hub.close_all()
