"""What is read of a request before the client is known: little, once, in bounded time."""

import asyncio
import logging
import re
import threading
import time
from pathlib import Path

import httpx
import httpx_sse
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as project_settings
from sseclient import SSEClient

from eric_sse_django import stream_urls, wire
from eric_sse_django.authorization import make_ticket
from eric_sse_django.consumers import admission, base, limits
from eric_sse_django.consumers.origin import check_origin
from eric_sse_django.consumers.request import Refused, StreamRequest, check_size
from eric_sse_django.routing import with_streams
from tests.sse import SSEReader
from tests.streams.asgi import Response, answer, inner, session_of

SESSION = project_settings.SESSION_COOKIE_NAME
# Seconds that reading the largest request may take: it takes 1 to 3 ms of an idle core, and
# took 53 ms (the query) and 9 s (the cookie, on old Pythons).
READ_S = 0.03


@pytest.fixture
async def listener(transactional_db, site):
    """Return a running listener "l" without an owner, of the channel "orders"."""
    listener = await site.channel.aadd_listener(listener_id="l")
    await listener.astart()
    return listener


@pytest.fixture(autouse=True)
def nothing_failed_yet(monkeypatch):
    monkeypatch.setattr(base, "failures", type(base.failures)())


def path():
    return f"/events/orders/l/?ticket={make_ticket('orders', 'l')}"


def request(query=b"", headers=()):
    scope = {"method": "GET", "path": "/events/", "query_string": query, "headers": list(headers)}
    return StreamRequest(scope)


def read_all(asked):
    """Read all that admission reads; return the seconds that it took."""
    began = time.thread_time()
    for field in ("channel", "listener", "ticket", "last_event_id"):
        asked.query(field)
    _ = asked.last_event_id(), asked.session_key()
    return time.thread_time() - began


# The query ------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [b"a&" * 249 + b"a=1", b"ticket=" + b"%41" * 2_700])
def test_the_largest_query_is_read_quickly(query):
    assert not request(query).has_large_query
    assert min(read_all(request(query)) for _ in range(5)) < READ_S


# Heads of 64 KiB are read as quickly as an ordinary one, or not at all.
HEADS = {
    "empty headers": [(b"a", b"")] * 60_000,
    "as many as are allowed": [(b"a", b"")] * 1_900,
    "ranges": [(b"accept", b"," * 60_000)],
    "positions": [(b"last-event-id", b"9")] * 1_400,
    "cookies": [(b"cookie", b"a")] * 1_600,
    "names": [(b"origin", b"http://b"), (b"access-control-request-headers", b"a , " * 15_000)],
}


@pytest.mark.parametrize("headers", HEADS.values(), ids=HEADS)
def test_the_largest_head_is_read_quickly(headers, settings, caplog):
    settings.ALLOWED_HOSTS, settings.ERIC_SSE = ["*"], {"ALLOWED_ORIGINS": ["http://b"]}
    scope = {"type": "http", "method": "OPTIONS", "path": "/", "query_string": b""}
    scope["headers"] = [(b"host", b"a"), *headers]

    def read():
        began = time.thread_time()
        asked = StreamRequest(scope)
        try:
            check_size(asked)
        except Refused:
            return time.thread_time() - began
        check_origin(asked)
        _ = asked.accepts_streams(), asked.is_event_source(), read_all(asked)
        return time.thread_time() - began

    # An idle core takes 1 to 4 ms; it took 47 ms.
    assert min(read() for _ in range(5)) < 0.02


def test_too_many_tickets_are_not_read(settings):
    asked = request(b"&".join([b"ticket=a:b:c"] * 500))
    began = time.thread_time()
    tickets, wrong = admission._tickets(asked, [("orders", None)])
    # 0.2 ms on an idle core; all of them took 8 ms.
    assert time.thread_time() - began < 0.004
    assert tickets == {}
    assert "only 11 of 500 tickets were read" in wrong


@pytest.mark.parametrize("query", [b"&" * 600, b"a=1&" * 600, b"x" * 11_000, b"&" * 60_000])
async def test_a_too_large_query_is_refused_unread(application, site, query):
    assert request(query).query("a") == []
    response = await answer(application, "/events/orders/l/", query_string=query)
    assert response.status == 414


async def test_as_many_tickets_fit_as_one_stream_may_serve_channels(application, site, settings):
    settings.ERIC_SSE = {"MAX_CHANNELS_PER_STREAM": 100}
    tickets = "&".join(f"channel=c{n:03}&ticket={make_ticket(f'c{n:03}')}" for n in range(100))
    response = await answer(application, "/events/", query_string=tickets.encode())
    assert response.status in (204, 403)  # there are no such channels


@pytest.mark.parametrize("field", ["lastEventId", "lastEventID", "Last-Event-ID"])
async def test_the_id_fields_of_other_clients_are_read(application, site, listener, field):
    for number in range(3):
        await site.publish(number)
    first = await site.at_head() - 2
    at = f"{path()}&last_event_id=99&{field}={first}"
    async with Response(application, at) as response:
        assert [(await response.event()).data for _ in range(2)] == ["1", "2"]


def test_the_header_counts_before_every_id_in_the_query():
    query = b"last_event_id=1&lastEventID=2&lastEventId=3&Last-Event-ID=4"
    assert request(query).last_event_id() == 3
    assert request(query, [(b"last-event-id", b"5")]).last_event_id() == 5
    assert request(query.replace(b"lastEventId=3&", b"")).last_event_id() == 2


# The cookie -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cookie",
    [
        SESSION + '="' + "\\" * 64_000 + '"',
        ";" * 64_000,
        f"{SESSION};" * 6_000,
        f"{SESSION}=1;" * 5_000,
        f"{SESSION}=" + "1" * 64_000,
        " " * 64_000 + SESSION,
    ],
)
def test_no_cookie_takes_longer_to_read_than_any_other(cookie):
    asked = [request(headers=[(b"cookie", cookie.encode())]) for _ in range(5)]
    assert min(map(read_all, asked)) < READ_S


@pytest.mark.parametrize(
    ("cookie", "key"),
    [
        (f"a=1; {SESSION}=k; b=2", "k"),
        (f"{SESSION} = k ", "k"),
        (f'{SESSION}="k"', "k"),
        (f"{SESSION}=j; {SESSION}=k", "k"),
        (f"x{SESSION}=j", None),
        (f"{SESSION}x=j", None),
        (f"a={SESSION}=j", None),
        (SESSION, None),
        ("", None),
    ],
)
def test_the_sessions_cookie_is_found_as_django_finds_it(cookie, key):
    asked = request(headers=[(b"cookie", cookie.encode())])
    assert asked.session_key() == key


def test_a_thousand_headers_of_one_name_are_joined_once():
    headers = [(b"host", b"testserver"), *[(b"sec-fetch-site", b"x")] * 13_000]
    costs = []
    for _ in range(5):
        began = time.thread_time()
        with pytest.raises(base.Refused):
            check_origin(request(headers=headers))
        costs.append(time.thread_time() - began)
    assert min(costs) < READ_S


# The prefix -----------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["", "/shop", "/other"])
async def test_streams_are_below_djangos_script_name(settings, site, listener, root, client):
    settings.FORCE_SCRIPT_NAME = "/shop"
    application = with_streams(inner)
    at = f"/shop{path()}"
    assert (await answer(application, at, "HEAD", root_path=root)).status == 200
    assert (await answer(application, "/shop/events/monitor/", root_path=root)).status == 403
    assert (await answer(application, "/shopping/events/a/b/", root_path=root)).status == 299


# Failures -------------------------------------------------------------------------------


async def test_a_path_cannot_forge_a_line_of_the_log(
    application, site, listener, caplog, monkeypatch
):
    async def fail(hub, request, seat):
        raise RuntimeError("others' code")

    monkeypatch.setattr("eric_sse_django.consumers.stream.admit", fail)
    at = "/events/orders/x\n2026-11-27 ERROR all is lost/"
    assert (await answer(application, at)).status == 200
    (line,) = [one for one in caplog.records if "could not be opened" in one.getMessage()]
    assert "\n" not in line.getMessage()


async def test_a_refused_path_writes_no_more_of_the_log_than_any_other(application, site, caplog):
    caplog.set_level(logging.INFO, "eric_sse_django.consumers.request")
    assert (await answer(application, f"/events/{'x' * 60_000}/")).status == 403
    (line,) = [one.getMessage() for one in caplog.records if "refused" in one.getMessage()]
    assert len(line) < 400


async def test_an_unavailable_session_store_is_logged_once(
    application, site, listener, django_user_model, caplog, monkeypatch
):
    user = await sync_to_async(django_user_model.objects.create_user)("ana", password="a")
    cookie = await session_of(user)

    def down(session_key):
        raise ConnectionError("the cache is unavailable")

    monkeypatch.setattr(admission.authorization, "visitor_of", down)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            response = await answer(
                application, "/events/orders/l/", headers=[(b"cookie", cookie)]
            )
            assert response.status == 200
    lines = [one for one in caplog.records if "could not be opened" in one.getMessage()]
    assert len(lines) == 1
    assert lines[0].exc_info


# The bytes between messages, for clients that are no browser ------------------------------


def blank_lines(data):
    """Return what fetch-event-source hands to its page: one for each blank line."""
    return data.replace(b"\r\n", b"\n").split(b"\n").count(b"") - data.endswith(b"\n")


def read_by_httpx(data):
    headers = {"content-type": "text/event-stream"}
    response = httpx.Response(200, headers=headers, content=data)
    return list(httpx_sse.EventSource(response).iter_sse())


WITHOUT_MESSAGE = [
    wire.opening(3_000, 7, blank=False) + wire.HEARTBEAT + wire.mark(8, blank=False),
    wire.opening(3_000, 7, blank=False) + wire.farewell(900),
    wire.farewell(900),
    wire.HEARTBEAT,
]


@pytest.mark.parametrize("data", WITHOUT_MESSAGE)
def test_no_client_reads_an_event_without_a_message(data):
    assert blank_lines(data) == 0
    assert read_by_httpx(data) == []
    assert list(SSEClient(iter([data])).events()) == []
    assert SSEReader().feed(data) == []


@pytest.mark.parametrize("name", [b"cache-control", b"pragma"])
async def test_an_event_source_has_its_first_id_at_once(application, site, listener, name):
    """After a stream that broke before its first message, this id brings that message."""
    async with Response(application, path(), headers=[(name, b"no-cache")]) as response:
        await response.more()
        assert response.reader.last_event_id != ""
    async with Response(application, path()) as response:
        await response.more()
        assert response.reader.last_event_id == ""
        assert blank_lines(response.body) == 0


async def test_proxies_are_asked_not_to_compress_a_stream(application, site, listener):
    async with Response(application, path()) as response:
        assert response.headers["content-encoding"] == "identity"


# Clients that do not read ----------------------------------------------------------------


class Deaf:
    """A send() whose client stops reading; records whether it was aborted."""

    transport = None

    def __init__(self, scope, takes):
        self.scope, self.takes, self.aborted = scope, takes, False
        self.transport = self

    def abort(self):
        self.aborted = True

    def get_extra_info(self, name):
        return None

    async def send(self, message):
        if self.takes == 0:
            await asyncio.Event().wait()
        self.takes -= 1


Deaf.__module__ = "uvicorn.protocols.http.httptools_impl"


@pytest.mark.parametrize(
    ("method", "ticket"), [("GET", True), ("GET", False), ("HEAD", True), ("OPTIONS", False)]
)
@pytest.mark.parametrize("takes", [0, 1])
async def test_a_client_that_reads_no_answer_is_cut_at_the_deadline(
    application, site, listener, settings, method, ticket, takes, fast_ticks
):
    settings.ERIC_SSE = {"SEND_TIMEOUT_S": 0.05}
    at, _, query = path().partition("?")
    scope = Response(application, at, method).scope
    scope["query_string"] = query.encode() if ticket else b""
    client = Deaf(scope, takes)
    await asyncio.wait_for(application(scope, asyncio.Event().wait, client.send), 5)
    assert client.aborted
    assert site.hub.streams == set()
    assert limits.seats.taken("MAX_STREAMS") == 0


async def test_a_client_that_leaves_before_its_answer_is_no_error(application, site, caplog):
    async def gone(message):
        raise OSError("ASGI 2.4")

    scope = Response(application, "/events/orders/l/").scope
    await asyncio.wait_for(application(scope, asyncio.Event().wait, gone), 5)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_the_url_of_streams_is_below_the_script_name_in_every_thread(settings):
    settings.FORCE_SCRIPT_NAME = "/shop"
    found = []
    thread = threading.Thread(target=lambda: found.append(stream_urls.path_of("orders")))
    thread.start()
    thread.join(5)
    assert found == [stream_urls.path_of("orders")] == ["/shop/events/orders/"]


def test_no_path_is_logged_as_it_comes():
    """Also in the HTTP API: a path is decoded, and may contain line breaks."""
    package = Path(wire.__file__).parent
    sources = [one.read_text() for one in package.rglob("*.py")]
    assert not [one for one in sources if re.search(r"\bpath=%s", one)]
