"""Hosts and origins: which pages may open a stream, and their CORS headers."""

import logging

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import OperationalError
from hypothesis import given
from hypothesis import strategies as st

from eric_sse_django import conf
from eric_sse_django.authorization import make_ticket
from eric_sse_django.consumers import Refused, StreamConsumer
from eric_sse_django.consumers import origin as origin_module
from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.monitor import PATH
from eric_sse_django.routing import with_streams
from tests.streams.asgi import Response, answer, session_of

SHOP = "https://shop.example"
MONITOR = f"/events/{PATH}"
CORS = {
    "access-control-allow-origin": SHOP,
    "access-control-allow-credentials": "true",
}


@pytest.fixture(autouse=True)
def shop_is_allowed(settings):
    settings.ERIC_SSE = {"ALLOWED_ORIGINS": ["https://other.example", SHOP]}


@pytest.fixture
def application():
    return with_streams(None)


@pytest.fixture
async def ana(transactional_db, site, django_user_model):
    """Return a user who owns the running listener "l" of the channel "orders"."""
    ana = await sync_to_async(django_user_model.objects.create_user)("ana", password="a")
    listener = await site.channel.aadd_listener(ana, listener_id="l")
    await listener.astart()
    return ana


def headers(origin=None, host="site.example", **others):
    given = {"origin": origin, "host": host, **others}
    pairs = [(name.replace("_", "-"), value) for name, value in given.items()]
    return [(name.encode(), value.encode()) for name, value in pairs if value is not None]


def ticketed():
    return f"/events/orders/l/?ticket={make_ticket('orders', 'l')}"


def check_origin(scope):
    """Return the CORS headers of the answer to a request with such a scope."""
    return origin_module.check_origin(StreamRequest({"method": "GET", "path": "/", **scope}))


def cors_of(response):
    return {k: v for k, v in response.headers.items() if k.startswith("access-control-")}


# Origins that are allowed ---------------------------------------------------------------


async def test_a_page_of_an_allowed_origin_gets_the_stream_and_may_read_it(application, site, ana):
    async with Response(application, ticketed(), headers=headers(SHOP)) as response:
        assert response.status == 200
        assert cors_of(response) == CORS
        assert response.headers["vary"] == "Cookie, Origin"
        await site.publish(1)
        assert (await response.event()).data == "1"
    head = await answer(application, ticketed(), "HEAD", headers=headers(SHOP))
    assert (head.status, cors_of(head)) == (200, CORS)


async def test_a_refusal_can_be_read_by_an_allowed_origin(application, site, ana, monkeypatch):
    async def ask(path="/events/orders/l/", method="GET", **others):
        response = await answer(application, path, method, headers=headers(SHOP, **others))
        assert cors_of(response) == CORS
        assert response.headers["vary"] == "Cookie, Origin"
        return response.status

    assert await ask() == 403
    assert await ask(accept="text/html") == 406
    assert await ask(method="POST") == 405
    assert await ask(f"/events/orders/?ticket={make_ticket('orders')}x") == 403
    assert await ask(MONITOR) == 403
    listener = await site.channel.aget_listener("l")
    await listener.astop()
    assert await ask(ticketed()) == 204

    async def away(self, hub, seat):
        raise OperationalError("gone")

    monkeypatch.setattr(StreamConsumer, "admit", away)
    assert await ask(ticketed()) == 200
    assert await ask(ticketed(), "HEAD") == 503


async def test_a_preflight_allows_what_stream_clients_send(application):
    asked = headers(SHOP, access_control_request_method="GET")
    response = await answer(application, "/events/orders/l/", "OPTIONS", headers=asked)
    assert (response.status, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert cors_of(response) == {
        **CORS,
        "access-control-allow-methods": "GET, HEAD",
        "access-control-allow-headers": "Accept, Cache-Control, Last-Event-ID",
        "access-control-max-age": "7200",
    }


@pytest.mark.parametrize("origin", [None, "http://site.example"])
async def test_options_without_a_foreign_origin_return_the_methods_only(application, origin):
    asked = headers(origin)
    response = await answer(application, "/events/orders/l/", "OPTIONS", headers=asked)
    assert (response.status, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert cors_of(response) == {}
    assert response.headers["vary"] == "Cookie, Origin"


# Origins that are not -------------------------------------------------------------------

FOREIGN = [
    [b"https://evil.example"],
    [b"null"],
    [b""],
    [b"*"],
    [b"https://"],
    [b"https://shop.example/"],
    [b"https://shop.example:443"],
    [b"https://SHOP.example"],
    [b"http://shop.example"],
    [b"https://shop.example.evil.example"],
    [b"https://evil.example?https://shop.example"],
    [b"https://shop.example https://evil.example"],
    [b"https://shop.example", b"https://evil.example"],
    [b"https://shop.example", b"https://shop.example"],
    [b"https://evil.example", b"http://site.example"],
    [b"//site.example"],
    [b"site.example"],
    [b"ftp://site.example"],
    [b"http://site.example:8000"],
    [b"http://user@site.example"],
    [b"http://site.example\0"],
    [b"\xff\xfe\0"],
    [b"https://" + b"x" * 9_999],
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("origins", FOREIGN, ids=lambda origins: repr(origins)[:40])
async def test_a_page_of_any_other_origin_is_refused_for_every_user(application, method, origins):
    # No fixture gives the test a database: one that is asked would put it off with a 200.
    sent = headers() + [(b"Origin", origin) for origin in origins]
    response = await answer(application, ticketed(), method, headers=sent)
    assert (response.status, cors_of(response)) == (403, {})
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["vary"] == "Cookie, Origin"
    assert b"example" not in response.body


async def test_the_owners_cookie_counts_for_allowed_origins(application, site, ana):
    cookie = (await session_of(ana)).decode()

    async def status(origin):
        sent = headers(origin, cookie=cookie)
        return (await answer(application, "/events/orders/l/", "HEAD", headers=sent)).status

    assert await status(None) == 200
    assert await status("http://site.example") == 200
    assert await status(SHOP) == 200
    assert await status("https://evil.example") == 403
    assert await status("null") == 403


@pytest.mark.django_db(transaction=True)
async def test_the_monitor_checks_origins_too(application, site):
    root = await sync_to_async(get_user_model().objects.create_superuser)("root", password="")
    cookie = (await session_of(root)).decode()

    async def ask(origin=None, host="site.example"):
        sent = headers(origin, host, cookie=cookie)
        return await answer(application, MONITOR, "HEAD", headers=sent)

    assert (await ask()).status == 200
    assert cors_of(await ask(SHOP)) == CORS
    assert (await ask("https://evil.example")).status == 403
    assert (await ask(host="a b")).status == 400


def test_no_part_of_a_string_is_an_allowed_origin(settings):
    """With a string by mistake, which no system check has stopped, no origin is allowed."""
    settings.ERIC_SSE = {"ALLOWED_ORIGINS": "https://shop.example.com"}
    with pytest.raises(Refused):
        check(SHOP)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (
            headers("https://evil.example"),
            "origin='https://evil.example' path='/events/orders/l/': this site is "
            "http://site.example, and the origin is not in ERIC_SSE['ALLOWED_ORIGINS']",
        ),
        (
            headers("https://site.example"),
            "origin='https://site.example' path='/events/orders/l/': this site is "
            "http://site.example: check the proxy, and SECURE_PROXY_SSL_HEADER",
        ),
        (
            [*headers(SHOP), (b"origin", SHOP.encode())],
            f"origin='{SHOP}' path='/events/orders/l/': the request has 2 Origin headers",
        ),
        (
            headers(sec_fetch_site="cross-site"),
            "site='cross-site' path='/events/orders/l/': it is a link or an image of another "
            "site, which has no Origin",
        ),
    ],
    ids=["another site", "another scheme", "two origins", "no origin"],
)
async def test_a_refused_origin_is_logged_with_its_reason(
    application, caplog, settings, sent, reason
):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    await answer(application, "/events/orders/l/", headers=sent)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == f"origin refused {reason}"


# The host's own origin -------------------------------------------------------------------


def check(origin, host="site.example", scheme="http", **others):
    """Return the CORS headers."""
    sent = headers(origin, host, **others)
    return check_origin({"scheme": scheme, "headers": sent})


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("site.example", "http://site.example"),
        ("SITE.example", "http://site.example"),
        ("site.example:80", "http://site.example"),
        ("site.example:8000", "http://site.example:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("site.example", "https://site.example"),
        ("site.example:8443", "https://site.example:8443"),
    ],
)
def test_the_hosts_own_origin_needs_no_setting(host, origin):
    assert check(origin, host) == []


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("site.example", "http://www.site.example"),
        ("www.site.example", "http://site.example"),
        ("site.example:8000", "http://site.example"),
        ("site.example", "http://site.example:8000"),
        ("site.example:80", "https://site.example"),
        ("site.example:443", "http://site.example"),
        ("localhost:8000", "http://127.0.0.1:8000"),
    ],
)
def test_another_name_or_port_is_another_origin(host, origin):
    with pytest.raises(Refused):
        check(origin, host)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_scheme_counts_where_it_is_known(settings, scheme):
    other = {"http": "https", "https": "http"}[scheme]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert check(f"{scheme}://site.example", x_forwarded_proto=scheme) == []
    with pytest.raises(Refused):
        check(f"{other}://site.example", x_forwarded_proto=scheme)
    assert check("http://site.example") == []
    with pytest.raises(Refused):
        check("https://site.example")


def test_a_server_with_tls_knows_the_scheme():
    assert check("https://site.example", scheme="https") == []
    with pytest.raises(Refused):
        check("http://site.example", scheme="https")


# Hosts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hosts",
    [
        ["evil.example"],
        ["site.example.evil.example"],
        ["site.example", "evil.example"],
        ["site.example", "site.example"],
        ["site.example,evil.example"],
        ["site.example/"],
        ["user@site.example"],
        ["site.example:port"],
        ["a b"],
        [""],
        ["\xff"],
        ["\0"],
        ["x" * 9_999],
        [],
    ],
    ids=lambda hosts: repr(hosts)[:40],
)
@pytest.mark.parametrize("debug", [True, False])
async def test_a_host_that_django_would_not_serve_gets_no_stream(
    application, settings, caplog, hosts, debug
):
    settings.ALLOWED_HOSTS, settings.DEBUG = ["site.example"], debug
    sent = [(b"host", host.encode("latin-1")) for host in hosts]
    response = await answer(application, ticketed(), "GET", headers=sent)
    assert (response.status, response.body) == (400, b"This server does not serve this host.\n")
    assert response.headers["content-type"].startswith("text/plain")
    assert [record.name for record in caplog.records] == ["django.security.DisallowedHost"]


def test_hosts_are_those_of_djangos_settings(settings):
    settings.ALLOWED_HOSTS = [".site.example"]
    check(None, "a.site.example:8000")
    with pytest.raises(Refused):
        check(None, "localhost")
    settings.ALLOWED_HOSTS, settings.DEBUG = [], True
    check(None, "localhost:8000")
    check(None, "[::1]:8000")
    settings.DEBUG = False
    with pytest.raises(Refused):
        check(None, "localhost:8000")


def test_a_forwarded_host_counts_where_django_trusts_it(settings):
    settings.ALLOWED_HOSTS = ["site.example"]
    with pytest.raises(Refused):
        check(None, "inside", x_forwarded_host="site.example")
    settings.USE_X_FORWARDED_HOST = True
    assert check("https://site.example", "inside", x_forwarded_host="site.example") == []
    with pytest.raises(Refused):
        check_origin({"headers": [(b"host", b"inside"), (b"x_forwarded_host", b"site.example")]})


def test_a_request_without_a_host_names_its_server(settings):
    settings.ALLOWED_HOSTS = ["10.0.0.1"]
    assert check_origin({"server": ("10.0.0.1", 80), "headers": []}) == []
    for server in (None, ("/run/site.sock", None), ("10.0.0.2", 80)):
        with pytest.raises(Refused):
            check_origin({"server": server, "headers": []})


# Anything ----------------------------------------------------------------------------------

NAMES = st.sampled_from([b"origin", b"Origin", b"host", b"x-forwarded-host", b"x-forwarded-proto"])
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([SHOP.encode(), b"null", b"*", b"site.example", b"http://site.example"]),
)


def outcome(sent):
    """Return the CORS headers, or the status of the refusal."""
    try:
        return dict(check_origin({"method": "OPTIONS", "headers": sent}))
    except Refused as refused:
        return refused.status


@given(sent=st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_only_an_allowed_origin_is_named_in_any_answer(sent):
    found = outcome(sent)
    if isinstance(found, int):
        assert found in (400, 403)
    else:
        named = found.get(b"access-control-allow-origin")
        assert named in (None, SHOP.encode())
        origins = [value for name, value in sent if name.lower() == b"origin"]
        assert origins in ([], [named], [b"http://site.example"])


@pytest.mark.parametrize("whose", ["cross-site", "same-site", "", "\xff"])
async def test_a_link_or_image_of_another_site_opens_no_stream(application, ana, whose):
    sent = [*headers(), (b"sec-fetch-site", whose.encode("latin-1"))]
    assert (await answer(application, ticketed(), headers=sent)).status == 403


@pytest.mark.parametrize("whose", ["same-origin", "none"])
async def test_the_sites_own_pages_and_a_typed_address_open_streams(application, ana, whose):
    sent = headers(sec_fetch_site=whose)
    assert (await answer(application, ticketed(), "HEAD", headers=sent)).status == 200


# Other names and schemes ------------------------------------------------------------------


async def preflight(application, asked, origin=SHOP):
    given = headers(origin, access_control_request_method="GET")
    given += [(b"access-control-request-headers", asked)]
    response = await answer(application, "/events/orders/l/", "OPTIONS", headers=given)
    return cors_of(response).get("access-control-allow-headers")


async def test_an_allowed_origin_is_granted_the_headers_that_its_page_asks_for(application):
    asked = b"authorization, baggage,sentry-trace, last-event-id"
    assert await preflight(application, asked) == (
        "Accept, Cache-Control, Last-Event-ID, authorization, baggage, sentry-trace"
    )
    assert await preflight(application, asked, "https://evil.example") is None


@pytest.mark.parametrize(
    "asked",
    [b"*/*", b"a b", b"a\r\nx: y", b"a,", b",", b"", b"x" * 65, b",".join([b"a"] * 51), b"\xff"],
)
async def test_a_value_that_is_not_a_list_of_names_is_not_granted(application, asked):
    assert await preflight(application, asked) == "Accept, Cache-Control, Last-Event-ID"


@pytest.mark.parametrize(
    "origin", ["capacitor://localhost", "ionic://localhost", "tauri://localhost", "app://x.y"]
)
async def test_the_pages_of_an_app_may_be_allowed_by_their_own_scheme(
    application, site, ana, settings, origin
):
    settings.ERIC_SSE = {"ALLOWED_ORIGINS": [origin]}
    assert conf.BY_NAME["ALLOWED_ORIGINS"].problem([origin]) is None
    head = await answer(application, ticketed(), "HEAD", headers=headers(origin))
    assert (head.status, cors_of(head)["access-control-allow-origin"]) == (200, origin)


@pytest.mark.parametrize(
    "origin", ["null", "file://", "://x", "a b://x", "App://x", "app://", "app://x/", "*://x"]
)
def test_an_origin_that_no_browser_sends_cannot_be_allowed(origin):
    assert conf.BY_NAME["ALLOWED_ORIGINS"].problem([origin])
