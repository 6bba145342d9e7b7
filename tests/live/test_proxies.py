"""Proxies as they are set up for other pages: they may compress, and hold no stream back."""

import copy
import os
import subprocess

import httpx
import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.monitor import PATH
from tests import test_hosting as hosting
from tests.client import StreamClient
from tests.databases import sqlite_only
from tests.live import site
from tests.patience import PATIENCE_S
from tests.server import free_port, is_free, until

yaml = pytest.importorskip("yaml")

CONFIGURATION = """
daemon off; worker_processes 1; error_log {directory}/error.log; pid {directory}/pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    gzip on; gzip_proxied any; gzip_min_length 0;
    gzip_types text/event-stream application/json;
    server {{
        listen 127.0.0.1:{port};
        location /shop/ {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
    }}
}}
"""


def caddy(directory, port, upstream):
    """Return the command of Caddy with the file of docs/hosting.md."""
    text = hosting.BLOCKS["Caddyfile"].replace("site.example.com", f"http://127.0.0.1:{port}")
    text = text.replace("encode zstd gzip", "encode gzip {\n\t\tminimum_length 1\n\t}")
    (directory / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}")
    command = [hosting.program("caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile"]
    return command, {"UPSTREAM": f"127.0.0.1:{upstream}", "HOME": str(directory)}


def traefik(directory, port, upstream):
    """Return the command of Traefik with the files of docs/hosting.md, without TLS."""
    static = copy.deepcopy(hosting.documents("/etc/traefik/traefik.yml")[0])
    dynamic = copy.deepcopy(hosting.documents("/etc/traefik/mysite.yml")[0])
    static["entryPoints"]["websecure"]["address"] = f"127.0.0.1:{port}"
    static["providers"]["file"]["filename"] = str(directory / "mysite.yml")
    del static["certificatesResolvers"]
    router, service = (dynamic["http"][each]["mysite"] for each in ("routers", "services"))
    router["rule"] = "Host(`127.0.0.1`)"
    router["middlewares"] = ["compressed"]
    del router["tls"]
    dynamic["http"]["middlewares"] = {"compressed": {"compress": {"minResponseBodyBytes": 1}}}
    service["loadBalancer"]["servers"][0]["url"] = f"http://127.0.0.1:{upstream}"
    del service["loadBalancer"]["healthCheck"]  # the tests' site has no health/
    (directory / "traefik.yml").write_text(yaml.safe_dump(static))
    (directory / "mysite.yml").write_text(yaml.safe_dump(dynamic))
    return [hosting.program("traefik"), f"--configFile={directory / 'traefik.yml'}"], {}


def nginx(directory, port, upstream):
    """Return the command of nginx, which compresses what it can."""
    text = CONFIGURATION.format(directory=directory, port=port, upstream=upstream)
    if os.geteuid() == 0:
        text = f"user root;{text}"
    (directory / "nginx.conf").write_text(text)
    file = str(directory / "nginx.conf")
    return [hosting.program("nginx"), "-p", str(directory), "-c", file, "-e", "stderr"], {}


@pytest.fixture
def proxy(tmp_path):
    """Return a function that puts a proxy, which compresses what it can, before a server."""
    started = []

    def start(process, kind=nginx):
        port = free_port()
        command, environment = kind(tmp_path, port, process.port)
        started.append(subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **environment}))
        url = f"http://127.0.0.1:{port}"
        assert until(lambda: not is_free(port) and _status(f"{url}/counters") == 200, PATIENCE_S)
        return url

    yield start
    for one in started:
        one.terminate()
        one.wait(10)


def _status(url):
    """Return the status of a page: Traefik answers 404 until it has read its files."""
    try:
        return httpx.get(url, timeout=PATIENCE_S).status_code
    except httpx.HTTPError:
        return 0


@sqlite_only
@pytest.mark.parametrize(
    ("kind", "server"),
    [(nginx, "daphne"), (nginx, "uvicorn"), (caddy, "uvicorn"), (traefik, "uvicorn")],
    ids=lambda each: getattr(each, "__name__", each),
)
async def test_a_proxy_that_compresses_passes_each_message_on_at_once(
    database, serve, proxy, kind, server
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    url = proxy(serve(server), kind)
    headers = {"Accept-Encoding": "gzip"}
    page = {"Accept": "*/*", "Connection": "close", **headers}
    async with await StreamClient.open(f"{url}/counters", headers=page) as client:
        assert client.headers["content-encoding"] == "gzip"  # it is one that compresses
    async with await StreamClient.open(url + path, headers=headers) as client:
        assert client.headers.get("content-encoding", "identity") == "identity"
        await client.until_body_has(b"ok")
        for number in range(3):
            await channel.abroadcast(Message("number", number))
            assert (await client.event(2)).data == str(number)


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn", "hypercorn", "granian"])
async def test_a_prefix_that_the_proxy_keeps_is_djangos_script_name(
    database, serve, proxy, server
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    options = {"hypercorn": ("-w", "0")}.get(server, ())
    environment = {"ERIC_SSE_TEST_SCRIPT_NAME": "/shop"}
    url = proxy(serve(server, options=options, environment=environment))
    async with await StreamClient.open(f"{url}/shop{path}") as client:
        await client.until_body_has(b"ok")
    # Django's own pages and the monitor are where the streams are.
    for at, status in (("/shop/counters", 200), (f"/shop/events/{PATH}", 403)):
        async with await StreamClient.open(url + at, headers={"Accept": "*/*"}) as client:
            assert client.status == status
