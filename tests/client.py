"""A client of event streams over a plain socket: what a server sends, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from urllib.parse import urlsplit

from tests.chunked import ChunkedDecoder
from tests.patience import PATIENCE_S
from tests.sse import Event, SSEReader


class StreamEnded(Exception):
    """The response is over, and the event that was waited for did not come."""

    def __init__(self, client: StreamClient) -> None:
        how = "complete" if client.complete else "cut off"
        super().__init__(
            f"{client.path} answered {client.status} and ended ({how}) after {client.body!r}."
        )


class StreamClient:
    """
    One request and its response. Made by `await StreamClient.open(url)`.

    `status`, `headers` (lower-case names), `body` (every byte so far, transfer coding
    removed), `reader` (the SSEReader that judged it) and, once the response ended,
    `complete`: False if the connection was cut before the body's announced end.
    """

    def __init__(self, path: str, last_event_id: str = "") -> None:
        self.path = path
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.reader = SSEReader(last_event_id)
        self.ended = False
        self.complete = False
        self._events: list[Event] = []
        self._out: asyncio.StreamWriter | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        last_event_id: str = "",
        timeout_s: float = PATIENCE_S,
        receive_buffer_bytes: int | None = None,
    ) -> StreamClient:
        """
        Send the request and return when the response's headers are here.

        A small `receive_buffer_bytes` makes a slow client: the kernel and we then hold
        little of what the client has not asked for yet. Raises asyncio.TimeoutError.
        """
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        client = cls(path, last_event_id)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setblocking(False)
        lines = {"Host": parts.netloc, "Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if last_event_id:
            lines["Last-Event-ID"] = last_event_id
        lines |= headers or {}
        try:
            await asyncio.wait_for(
                client._request(sock, (parts.hostname or "", parts.port or 80), method, lines),
                timeout_s,
            )
        except BaseException:
            if client._out is None:
                sock.close()
            else:
                client._out.transport.abort()
            raise
        return client

    async def _request(
        self, sock: socket.socket, address: tuple[str, int], method: str, lines: Mapping[str, str]
    ) -> None:
        await asyncio.get_running_loop().sock_connect(sock, address)
        # The reader pauses the socket at twice the limit.
        self._in, self._out = await asyncio.open_connection(sock=sock, limit=16 * 1024)
        head = [f"{method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in lines.items())]
        self._out.write("\r\n".join([*head, "", ""]).encode())
        raw = await self._in.readuntil(b"\r\n\r\n")
        first, *rest = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        self.status = int(first.split(" ")[1])
        for line in rest:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self._chunks = (
            ChunkedDecoder() if self.headers.get("transfer-encoding") == "chunked" else None
        )
        length = self.headers.get("content-length")
        self._length = int(length) if length is not None else None
        if self.status == 204 or method == "HEAD" or self._length == 0:
            self.ended = self.complete = True

    async def _read(self) -> None:
        """Wait for the next bytes, or the end, of the response."""
        try:
            raw = await self._in.read(65536)
        except ConnectionError:
            raw = b""
        piece = raw if self._chunks is None else self._chunks.feed(raw)
        self.body += piece
        self._events += self.reader.feed(piece)
        if self._chunks is not None:
            self.complete = self._chunks.complete
        elif self._length is not None:
            self.complete = len(self.body) >= self._length
        else:
            self.complete = not raw
        self.ended = self.complete or not raw

    async def event(self, timeout_s: float = PATIENCE_S) -> Event:
        """Return the next event. Raises StreamEnded, and asyncio.TimeoutError after a while."""

        async def wait() -> None:
            while not self._events:
                if self.ended:
                    raise StreamEnded(self)
                await self._read()

        await asyncio.wait_for(wait(), timeout_s)
        return self._events.pop(0)

    async def events(self, count: int, timeout_s: float = PATIENCE_S) -> list[Event]:
        """Return the next `count` events, waiting at most `timeout_s` for each."""
        return [await self.event(timeout_s) for _ in range(count)]

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events until the response ends, or none has come for 5 s."""
        while True:
            try:
                yield await self.event()
            except StreamEnded:
                return

    async def until_body_has(self, part: bytes, timeout_s: float = PATIENCE_S) -> float:
        """Return the seconds until the body held `part`, e.g. a comment."""
        began = time.monotonic()

        async def wait() -> None:
            while part not in self.body:
                if self.ended:
                    raise StreamEnded(self)
                await self._read()

        await asyncio.wait_for(wait(), timeout_s)
        return time.monotonic() - began

    async def read_to_end(self, timeout_s: float = PATIENCE_S) -> bytes:
        """Return the whole body once the server has ended it. Raises asyncio.TimeoutError."""

        async def wait() -> None:
            while not self.ended:
                await self._read()

        await asyncio.wait_for(wait(), timeout_s)
        return self.body

    def close(self) -> None:
        """Leave as a browser does: close the connection."""
        assert self._out is not None
        self._out.close()

    def abort(self) -> None:
        """Leave without a goodbye: reset the connection."""
        assert self._out is not None
        sock = self._out.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._out.transport.abort()

    async def __aenter__(self) -> StreamClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        assert self._out is not None, "open() it"
        # Gives the loop the turns it needs to close the socket; a reset by peer is fine.
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._out.wait_closed(), 1)
