"""Clients that misbehave, over plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# When a connection is closed: after which parts were sent and read.
LEAVING = ("at once", "during the request", "before the answer", "after the answer", "by a reset")


def request(path: str, *lines: str) -> bytes:
    """Return the bytes of a request for a stream."""
    head = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: text/event-stream", *lines]
    return "\r\n".join([*head, "", ""]).encode()


async def connect_and_close(port: int, path: str, how: str) -> None:
    """Open one connection and close it in one of the LEAVING ways. Takes 5 s at most."""
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setblocking(False)
    whole = request(path)
    with sock, contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), 5)
        if how != "at once":
            some = random.randint(1, len(whole) - 1)
            await loop.sock_sendall(sock, whole[:some] if how == "during the request" else whole)
        if how in ("after the answer", "by a reset"):
            await asyncio.wait_for(loop.sock_recv(sock, 4096), 5)
        if how == "by a reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def connect_often(port: int, path: str, count: int, at_once: int = 20) -> None:
    """Do that `count` times, using all ways in turn."""
    for first in range(0, count, at_once):
        ways = (LEAVING[number % len(LEAVING)] for number in range(first, first + at_once))
        await asyncio.gather(*(connect_and_close(port, path, how) for how in ways))


@contextmanager
def half_requests(port: int, path: str, count: int) -> Iterator[None]:
    """Keep `count` connections open that have sent a part of their request's head."""
    with ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            sock.sendall(request(path)[:-4])
        yield


async def send_large_head(port: int, path: str, size: int) -> bytes:
    """Send a request whose header has `size` bytes; return the answer's first line, or b""."""
    head = request(path, f"X-Large: {'x' * size}")
    incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            outgoing.write(head)
            await asyncio.wait_for(outgoing.drain(), 5)
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            return await asyncio.wait_for(incoming.readline(), 5)
        return b""
    finally:
        outgoing.transport.abort()


async def read_a_byte_a_second(port: int, path: str) -> int:
    """Open a stream, and read a byte a second; return the number of bytes until it was cut."""
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    count = 0
    with sock:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, request(path))
        try:
            while await loop.sock_recv(sock, 1):
                count += 1
                await asyncio.sleep(1)
        except ConnectionError:
            return count
    return count
