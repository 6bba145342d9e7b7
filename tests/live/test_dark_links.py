"""The kernel gets the time that a link may be silent, on each server, protocol and middleware."""

import asyncio
import ctypes
import os
import socket
import ssl
import time
from functools import partial
from pathlib import Path

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from tests import certificates
from tests.client import StreamClient
from tests.conftest import missing
from tests.databases import sqlite_only
from tests.http2 import HTTP2Client
from tests.live import site
from tests.live.test_streams import closed
from tests.server import free_port

# Linux's pidfd_getfd(2), of which Python has no function.
PIDFD_GETFD = 438
SETTINGS = {"HEARTBEAT_S": 3, "SEND_TIMEOUT_S": 7}
LIMIT_MS = 9_000


def limits_ms(pid):
    """Return the TCP_USER_TIMEOUT of each connection of a process that has one."""
    found, libc = [], ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(pid)
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if not os.readlink(link).startswith("socket:"):
                continue
            copy = libc.syscall(PIDFD_GETFD, handle, int(link.name), 0)
            if copy < 0:
                missing(f"pidfd_getfd(2): {os.strerror(ctypes.get_errno())}")
            with socket.socket(fileno=copy) as sock:
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    limit = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                    found += [limit] if limit else []
    finally:
        os.close(handle)
    return found


CASES = {
    "daphne, TLS": "daphne",
    "daphne, HTTP/2": "daphne",
    "uvicorn, TLS": "uvicorn",
    "hypercorn, TLS": "hypercorn",
    "hypercorn, HTTP/2": "hypercorn",
    "gunicorn, TLS": "gunicorn",
}


@sqlite_only
@pytest.mark.parametrize("wrapper", ["", "closure"])
async def test_a_link_may_be_silent_for_the_heartbeat_or_the_deadline(
    database, serve, tmp_path, wrapper
):
    channel = await DatabaseChannel.acreate("orders")
    path = await site.new_listener(channel)
    check = partial(may_be_silent, serve, path, certificates.make(tmp_path), wrapper)
    # Below a middleware nothing differs by the protocol.
    await site.side_by_side(check, [case for case in CASES if not (wrapper and "2" in case)])


async def may_be_silent(serve, path, tls, wrapper, case, turn):
    certificate, key = tls
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    files = (f"--certfile={certificate}", f"--keyfile={key}")
    server = CASES[case]
    options = {
        "daphne": ("-e", endpoint),
        "uvicorn": (f"--ssl-certfile={certificate}", f"--ssl-keyfile={key}"),
        "hypercorn": ("-w", "0", *files),
        "gunicorn": ("-k", "asgi", "-w", "1", *files),
    }[server]
    application = "tests.live.wrapped:application" if wrapper else "tests.asgi:application"
    process = await asyncio.to_thread(
        serve,
        server,
        options=options,
        settings=SETTINGS,
        application=application,
        environment={"ERIC_SSE_TEST_WRAPPER": wrapper or "closure"},
    )
    url = f"https://127.0.0.1:{port if server == 'daphne' else process.port}"

    def is_limited():
        pids = [process.pid, *(child.pid for child in process.children())]
        return [limit for pid in pids for limit in limits_ms(pid)] == [LIMIT_MS]

    if "HTTP/2" in case:
        async with HTTP2Client(url) as client:
            stream = client.get(path)
            await client.until(lambda: stream.body)
            await site.until(is_limited)
        return
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    await asyncio.wait_for(reader.readuntil(b": ok"), 5)
    await site.until(is_limited)
    writer.transport.abort()
    assert "missing" not in process.log.read_text()


@sqlite_only
async def test_a_deadline_longer_than_the_heartbeat_ends_the_stream_as_send_timeout(
    database, serve
):
    """The kernel gives up a client whose window is shut, too: it must not be the first."""
    await site.side_by_side(partial(ends_as_send_timeout, serve), ["daphne", "uvicorn"])


async def ends_as_send_timeout(serve, server, turn):
    channel = await DatabaseChannel.acreate(server)
    path = await site.new_listener(channel)
    settings = {"HEARTBEAT_S": 1, "SEND_TIMEOUT_S": 4, "SQLITE_LOOK_INTERVAL_S": 0.02}
    process = await asyncio.to_thread(serve, server, settings=settings)
    slow = await StreamClient.open(process.url + path, receive_buffer_bytes=4096)
    async with await StreamClient.open(process.url + path) as client:
        await client.until_body_has(b"ok")
        began = time.monotonic()
        for _ in range(6):
            await channel.abroadcast_many(Message("big", "x" * 100_000) for _ in range(10))
            await client.events(10)
            client.body = b""
        await site.until(lambda: closed(process), 15)
    assert time.monotonic() - began > 4
    assert process.log.read_text().count("reason=send timeout") == 1
    slow.close()
