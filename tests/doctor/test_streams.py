"""The doctor opens a real stream through a real nginx, and finds what is wrong with it."""

import socket
import socketserver
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from eric_sse_django.doctor import streams
from eric_sse_django.models import Channel
from tests import certificates
from tests.doctor.nginx import RECIPE, nginx
from tests.server import free_port

HIDE = "proxy_hide_header Content-Encoding; gzip on; gzip_proxied any; gzip_min_length 0;"
CUT = RECIPE.replace("60s", "1s")
CACHE = 'proxy_hide_header Cache-Control; add_header Cache-Control "max-age=60";'


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait shorter for what does not come; the server under test is idle."""
    for name in ("ARRIVE_S", "BEGIN_S", "GONE_S"):
        monkeypatch.setattr(streams, name, 2.5)


def visit(url, **options):
    """Return the findings by id, and whether the doctor removed what it made."""
    found = {each.id: each for each in streams.Visit(url, **options).examine()}
    assert not Channel.objects.exists()
    for each in found.values():
        assert (each.level == "good") == (not each.next_step)
    return {id: each for id, each in found.items() if each.level != "good"}


def test_nginx_as_recommended_is_healthy(eric_live_server, settings):
    settings.ERIC_SSE = {"HEARTBEAT_S": 1}
    with nginx(eric_live_server) as url:
        assert visit(url) == {}


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


def test_a_proxy_that_buffers_is_found(eric_live_server):
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


def test_a_server_that_gives_no_answer_is_found(transactional_db):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert list(visit(url)) == ["stream.no_answer"]


def test_a_certificate_that_browsers_refuse_is_found(eric_live_server, tmp_path):
    pair = certificates.make(tmp_path)
    server = f"ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};"
    with nginx(eric_live_server, server=server, tls="ssl") as url:
        assert list(visit(url, waits=False)) == ["stream.certificate"]
        assert list(visit(url, waits=False, insecure=True)) == ["stream.http1"]


def test_servers_that_use_another_database_are_found(eric_live_server, monkeypatch):
    # What is published here is not there.
    monkeypatch.setattr(streams.Visit, "_publish", lambda self, number: 0.0)
    assert list(visit(eric_live_server)) == ["stream.not_delivered"]


def test_messages_that_arrive_late_are_found(eric_live_server, monkeypatch):
    monkeypatch.setattr(streams, "LATE_S", 0.0)
    assert list(visit(eric_live_server, waits=False)) == ["stream.late"]


def test_heartbeats_that_do_not_come_are_found(eric_live_server, settings, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT_LATE_S", -14.0)
    assert list(visit(eric_live_server)) == ["stream.no_heartbeat"]


def test_a_clock_of_the_server_that_is_wrong_is_found(eric_live_server):
    date = 'add_header Date "Sat, 01 Jan 2000 00:00:00 GMT"; proxy_hide_header Date;'
    with nginx(eric_live_server, RECIPE, "proxy_pass_header Date;", date) as url:
        found = visit(url, waits=False)
    assert list(found) in (["clocks.server"], [])


@contextmanager
def relay_that_stays(upstream):
    """Yield the URL of a relay that keeps its connections to the server when clients leave."""
    kept = []

    class Relay(socketserver.BaseRequestHandler):
        def handle(self):
            server = socket.create_connection(("127.0.0.1", urlsplit(upstream).port))
            kept.append(server)
            server.sendall(self.request.recv(65_536))
            while piece := server.recv(65_536):
                try:
                    self.request.sendall(piece)
                except OSError:
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as relay:
        relay.daemon_threads = True
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{relay.server_address[1]}"
        finally:
            relay.shutdown()
            for server in kept:
                server.shutdown(socket.SHUT_RDWR)
                server.close()


def test_a_proxy_that_keeps_the_streams_of_clients_that_left_is_found(eric_live_server):
    with relay_that_stays(eric_live_server) as url:
        assert list(visit(url, waits=False)) == ["stream.ghost"]
