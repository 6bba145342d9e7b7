"""nginx as it is set up for other pages: it may compress, and it holds no stream back."""

import os
import shutil
import subprocess

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.monitor import PATH
from tests.client import StreamClient
from tests.conftest import missing
from tests.databases import sqlite_only
from tests.live import site
from tests.server import free_port, is_free, until

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


@pytest.fixture
def proxy(tmp_path):
    """Return a function that puts nginx, which compresses what it can, before a server."""
    started = []

    def start(process):
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if nginx is None:
            missing("nginx is not installed")
        port = free_port()
        text = CONFIGURATION.format(directory=tmp_path, port=port, upstream=process.port)
        if os.geteuid() == 0:
            text = f"user root;{text}"
        (tmp_path / "nginx.conf").write_text(text)
        command = [nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
        started.append(subprocess.Popen(command))
        assert until(lambda: not is_free(port), 10)
        return f"http://127.0.0.1:{port}"

    yield start
    for one in started:
        one.terminate()
        one.wait(10)


@sqlite_only
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_a_proxy_that_compresses_passes_each_message_on_at_once(
    database, serve, proxy, server
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    url = proxy(serve(server))
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
