"""The doctor opens a real stream through a real nginx, and finds what is wrong with it."""

import os
import re
import socket
import socketserver
import subprocess
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from django.db import connections

from eric_sse_django.doctor import streams
from eric_sse_django.doctor.link import Link
from eric_sse_django.models import Channel
from eric_sse_django.shortcuts import channel, watch_url
from tests import certificates
from tests.doctor.nginx import RECIPE, nginx
from tests.doctor.relay import relay
from tests.live.test_other_proxies import caddy, traefik
from tests.patience import PATIENCE_S
from tests.server import free_port, is_free, until

HIDE = "proxy_hide_header Content-Encoding; gzip on; gzip_proxied any; gzip_min_length 0;"
CUT = RECIPE.replace("60s", "1s")
CACHE = 'proxy_hide_header Cache-Control; add_header Cache-Control "max-age=60";'


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait for what must come as long as other tests, on a server that writes at once."""
    for name in ("ARRIVE_S", "BEGIN_S", "GONE_S", "HEARTBEAT_LATE_S", "LATE_S", "ONLINE_S"):
        monkeypatch.setattr(streams, name, PATIENCE_S)
    monkeypatch.setattr("eric_sse_django.hub.hub.TICK_S", 0.05)
    monkeypatch.setattr("eric_sse_django.hub.records.ROUND_S", 0.05)


@pytest.fixture
def impatient(patient, monkeypatch):
    """Wait shorter, for what does not come."""
    for name in ("ARRIVE_S", "BEGIN_S", "GONE_S"):
        monkeypatch.setattr(streams, name, 1.0)


def visit(url, **options):
    """Return the findings by id, and whether the doctor removed what it made."""
    found = {each.id: each for each in streams.Visit(url, **options).examine()}
    assert not Channel.objects.filter(name__startswith=streams.PREFIX).exists()
    for each in found.values():
        assert (each.level == "good") == (not each.next_step)
    return {id: each for id, each in found.items() if each.level != "good"}


def test_nginx_as_recommended_is_healthy(eric_live_server, settings):
    settings.ERIC_SSE = {"HEARTBEAT_S": 1}
    with nginx(eric_live_server) as url:
        assert visit(url) == {}


@pytest.mark.parametrize("kind", [caddy, traefik], ids=lambda kind: kind.__name__)
def test_caddy_and_traefik_with_the_files_of_the_page_are_healthy(
    eric_live_server, settings, tmp_path, kind
):
    settings.ERIC_SSE = {"HEARTBEAT_S": 1}
    port = free_port()
    command, environment = kind(tmp_path, port, urlsplit(eric_live_server).port)
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **environment})
    try:
        url = f"http://127.0.0.1:{port}"
        assert until(lambda: not is_free(port) and passes_on(f"{url}/events/none/"), PATIENCE_S)
        assert visit(url) == {}
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def passes_on(url):
    """Return whether a proxy passes requests on: the server refuses one without a ticket."""
    try:
        return httpx.get(url, timeout=PATIENCE_S).status_code == 403
    except httpx.HTTPError:
        return False


def test_the_server_itself_is_healthy(eric_live_server):
    assert visit(eric_live_server, waits=False) == {}


@pytest.mark.parametrize(
    ("id", "more"),
    [
        ("stream.compressed", (HIDE, "gzip_types text/event-stream;")),
        ("stream.no_last_event_id", ('proxy_set_header Last-Event-ID "";',)),
        ("stream.cacheable", (CACHE,)),
    ],
)
def test_a_setting_of_nginx_that_harms_is_found(eric_live_server, id, more):
    with nginx(eric_live_server, RECIPE, *more) as url:
        found = visit(url, waits=False)
    assert list(found) == [id]


def test_a_proxy_that_buffers_is_found(eric_live_server, impatient):
    # nginx's own defaults, HTTP/1.0 to the server among them.
    with nginx(eric_live_server, "proxy_ignore_headers X-Accel-Buffering;") as url:
        assert list(visit(url, waits=False)) == ["stream.buffered"]


@pytest.mark.parametrize(
    ("id", "location"),
    [
        ("stream.redirected", "return 301 https://www.example.com$request_uri;"),
        ("stream.not_a_stream", 'default_type text/html; return 200 "Maintenance";'),
        ("stream.gateway", "return 502;"),
        ("stream.status_401", "return 401;"),
        ("stream.status_404", "return 404;"),
        ("stream.status_500", "return 500;"),
    ],
)
def test_an_answer_that_is_no_stream_is_explained(transactional_db, id, location):
    with nginx("", location=location) as url:
        assert list(visit(url)) == [id]


def test_a_proxy_that_ends_silent_streams_is_found(eric_live_server, settings):
    settings.ERIC_SSE = {"HEARTBEAT_S": 4}
    with nginx(eric_live_server, CUT) as url:
        found = visit(url)
    assert list(found) == ["stream.cut"]
    assert "after 1 s of silence" in found["stream.cut"].text


def test_a_host_that_django_refuses_is_found(eric_live_server, settings):
    settings.ALLOWED_HOSTS = ["www.example.com"]
    assert list(visit(eric_live_server)) == ["stream.status_400"]


def test_another_secret_key_is_found(eric_live_server, settings, monkeypatch):
    from eric_sse_django.shortcuts import stream_url

    def signed_elsewhere(*arguments, **options):
        return stream_url(*arguments, **options).replace("ticket=", "ticket=x")

    monkeypatch.setattr(streams, "stream_url", signed_elsewhere)
    assert list(visit(eric_live_server)) == ["stream.status_403"]


def test_a_server_that_is_not_there_is_found(transactional_db):
    assert list(visit(f"http://127.0.0.1:{free_port()}")) == ["stream.unreachable"]
    assert list(visit("http://no-such-host.invalid")) == ["stream.unreachable"]


def test_a_server_that_gives_no_answer_is_found(transactional_db, impatient):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert list(visit(url)) == ["stream.no_answer"]


@contextmanager
def answering(*pieces, pause_s=0.0):
    """Serve these bytes to each client, one after another; yield the URL and what clients sent."""
    sent, over = [], threading.Event()

    class Answer(socketserver.BaseRequestHandler):
        def handle(self):
            sent.append(self.request.recv(65_536))
            for piece in pieces:
                try:
                    self.request.sendall(piece)
                except OSError:
                    return
                over.wait(pause_s)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", sent
        finally:
            over.set()
            server.shutdown()


STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\n:a\n\r\n"
)


@pytest.mark.parametrize(
    ("begin", "id"),
    [(b"HTTP/1.1 200 OK\r\nX-Slow: ", "stream.no_answer"), (STREAM, "stream.not_delivered")],
    ids=["headers", "body"],
)
def test_an_answer_that_comes_byte_by_byte_takes_no_longer(
    transactional_db, settings, impatient, begin, id
):
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 0.1}
    began = time.monotonic()
    with answering(begin, *[b"0"] * 600, pause_s=0.1) as (url, _):
        assert list(visit(url, waits=False)) == [id]
    assert time.monotonic() - began < 30  # of 60


def test_a_server_without_tls_has_no_certificate_to_renew(transactional_db):
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, _):
        found = visit(url.replace("http:", "https:"))
    assert list(found) == ["stream.tls"]
    assert "http://" in found["stream.tls"].next_step


def test_a_password_of_the_address_is_sent_and_never_shown(transactional_db):
    with answering(b"HTTP/1.1 302 Found\r\nLocation: /\x1b[2J\r\n\r\n") as (url, sent):
        found = visit(url.replace("http://", "http://ann:4%3111@"))
    assert b"Authorization: Basic " + b64encode(b"ann:4111") in sent[0]
    assert "\x1b" not in str(found)
    found = visit(f"http://ann:4111@127.0.0.1:{free_port()}")
    assert list(found) == ["stream.unreachable"]
    assert "4111" not in str(found)


def test_a_certificate_that_browsers_refuse_is_found(eric_live_server, tmp_path):
    pair = certificates.make(tmp_path)
    server = f"ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};"
    with nginx(eric_live_server, server=server, tls="ssl") as url:
        assert list(visit(url, waits=False)) == ["stream.certificate"]
        assert list(visit(url, waits=False, insecure=True)) == ["stream.http1"]


def test_servers_that_use_another_database_are_found(
    eric_live_server, settings, monkeypatch, impatient
):
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 0.1}
    # What is published here is not there.
    monkeypatch.setattr(streams.Visit, "_publish", lambda self, number: 0.0)
    assert list(visit(eric_live_server)) == ["stream.not_delivered"]


def test_messages_that_arrive_late_are_found(eric_live_server, monkeypatch):
    monkeypatch.setattr(streams, "LATE_S", 0.0)
    assert list(visit(eric_live_server, waits=False)) == ["stream.late"]


def test_heartbeats_that_do_not_come_are_found(eric_live_server, settings, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT_LATE_S", -14.0)
    assert list(visit(eric_live_server)) == ["stream.no_heartbeat"]


def by(pattern, text):
    """Return a function that replaces what the pattern finds."""
    return lambda data: re.sub(pattern, text, data, flags=re.IGNORECASE)


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("clocks.server", by(rb"(\r\nDate: )[^\r]*", rb"\1Sat, 01 Jan 2000 00:00:00 GMT")),
        ("stream.http10", by(rb"^HTTP/1.1", rb"HTTP/1.0")),
    ],
)
def test_what_an_answer_shows_is_found(eric_live_server, id, change):
    with nginx(eric_live_server) as proxy, relay(proxy, answer=change) as url:
        assert list(visit(url, waits=False)) == [id]


def test_a_reconnect_that_repeats_messages_is_found(eric_live_server):
    change = by(rb"(\r\nLast-Event-ID: )[^\r]*", rb"\g<1>0")
    with relay(eric_live_server, request=change) as url:
        assert list(visit(url, waits=False)) == ["stream.does_not_continue"]


def test_a_proxy_that_keeps_the_streams_of_clients_that_left_is_found(eric_live_server, impatient):
    with relay(eric_live_server, keeps=True) as url:
        assert list(visit(url, waits=False)) == ["stream.ghost"]


def test_a_server_that_is_full_is_found(eric_live_server, settings):
    settings.ERIC_SSE = {"MAX_STREAMS_PER_ADDRESS": 1}
    channel("orders")
    full = Link(urlsplit(eric_live_server))
    full.open(watch_url("orders"), 5)
    try:
        assert list(visit(eric_live_server, waits=False)) == ["stream.put_off"]
    finally:
        full.close()


# No false alarms ------------------------------------------------------------------------


def test_an_address_with_the_prefix_of_the_site_is_the_sites(eric_live_server, settings):
    settings.FORCE_SCRIPT_NAME = "/shop"
    for url in (eric_live_server, f"{eric_live_server}/shop/"):
        assert visit(url, waits=False) == {}


def test_a_site_that_polls_rarely_is_not_blamed_for_buffering(eric_live_server, settings):
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 60}
    assert visit(eric_live_server, waits=False) == {}


def test_what_a_doctor_left_that_was_killed_is_removed_by_the_next(eric_live_server):
    left, used = [channel(f"{streams.PREFIX}{name}").row for name in ("old", "new")]
    left.created_at -= timedelta(seconds=streams.LEFT_BEHIND_S + 1)
    left.save()
    found = {each.id: each for each in streams.Visit(eric_live_server, waits=False).examine()}
    assert "stream.continues" in found
    assert list(Channel.objects.all()) == [used]


def test_two_doctors_at_once_find_nothing(eric_live_server):
    def look():
        try:
            return [each.level for each in streams.Visit(eric_live_server, waits=False).examine()]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        for found in [pool.submit(look) for _ in range(2)]:
            assert set(found.result(60)) == {"good"}
    assert not Channel.objects.exists()
