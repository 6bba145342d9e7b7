"""A TCP proxy for tests: it cuts its connections, holds their data, and resumes."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Any

from tests.server import free_port


class Proxy:
    """
    Passes bytes between its own port and another of loopback. An async context manager.

    While it is cut, all connections are closed and new ones are reset. While it is held, they
    stay open and pass no data.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.is_cut = False
        self.is_held = False
        self.ends: set[_End] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Reset all connections, and refuse new ones; return how many were reset."""
        self.is_cut = True
        count = sum(end.is_client for end in self.ends)
        for end in tuple(self.ends):
            end.abort()
        return count

    def hold(self) -> None:
        """Pass no data from now on."""
        self.is_held = True
        for end in self.ends:
            end.pause()

    def repair(self) -> None:
        """Accept connections and pass data again."""
        self.is_cut = self.is_held = False
        for end in self.ends:
            end.resume()

    def connect(self, end: _End) -> None:
        """Connect a new client to the server."""
        task = asyncio.create_task(self._connect(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, end: _End) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _End(self, end), "127.0.0.1", self.target)
        except OSError:
            end.abort()

    async def __aenter__(self) -> Proxy:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _End(self, None), "127.0.0.1", self.port, backlog=2048
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut()
        await asyncio.sleep(0)  # asyncio closes the sockets in this turn


class _End(asyncio.Protocol):
    """One end of a connection: the client's (created without a peer), or the server's."""

    transport: asyncio.Transport

    def __init__(self, proxy: Proxy, peer: _End | None) -> None:
        self._proxy = proxy
        self._peer = peer
        self.is_client = peer is None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._proxy.ends.add(self)
        if self._proxy.is_cut:
            self.abort()
        elif self._peer is None:
            transport.pause_reading()  # until the server's end exists
            self._proxy.connect(self)
        else:
            self._peer._peer = self
            self._peer.resume()
            if self._peer.transport.is_closing():
                self.abort()

    def data_received(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.transport.write(data)

    def pause_writing(self) -> None:
        if self._peer is not None:
            self._peer.pause()

    def resume_writing(self) -> None:
        if self._peer is not None:
            self._peer.resume()

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy.ends.discard(self)
        if self._peer is not None:
            self._peer.transport.close()

    def pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not (self._proxy.is_held or self._peer is None or self.transport.is_closing()):
            self.transport.resume_reading()

    def abort(self) -> None:
        """Reset the connection: further data of the other side is answered with RST."""
        sock = self.transport.get_extra_info("socket")
        if not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.transport.abort()
