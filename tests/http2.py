"""A client of HTTP/2 that reads as much as a test wants it to: one connection, many streams."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes

from tests.patience import PATIENCE_S
from tests.sse import Event, SSEReader

LARGEST_WINDOW = 2**31 - 1


@dataclass
class Stream:
    """One request's response so far: `reset` is its RST_STREAM's code, None without one."""

    reads: bool
    status: int = 0
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    unread: int = 0
    events: list[Event] = field(default_factory=list)
    reader: SSEReader = field(default_factory=SSEReader)


class HTTP2Client:
    """
    An async context manager; made by `HTTP2Client(url)`. https does not check host names.

    Give `window` to open each stream's that far, and the connection's, which has 64 KiB at least.
    """

    def __init__(self, url: str, window: int | None = None) -> None:
        self.parts = urlsplit(url)
        self.streams: dict[int, Stream] = {}
        self.is_over = False
        self._window = window
        self._changed = asyncio.Condition()
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))

    async def __aenter__(self) -> HTTP2Client:
        context = None
        if self.parts.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
        self._in, self._out = await asyncio.wait_for(
            asyncio.open_connection(
                self.parts.hostname, self.parts.port, ssl=context, limit=65536
            ),
            PATIENCE_S,
        )
        self._h2.initiate_connection()
        if self._window is not None:
            self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self._window})
            if self._window > 65_535:
                self._h2.increment_flow_control_window(self._window - 65_535)
        self._flush()
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reading.cancel()
        self._out.transport.abort()
        await asyncio.gather(self._reading, return_exceptions=True)

    def get(self, path: str, reads: bool = True, **more: str) -> Stream:
        """Send a request; `reads` False never opens its stream's window again."""
        stream_id = self._h2.get_next_available_stream_id()
        headers = {
            ":method": "GET",
            ":path": path,
            ":scheme": self.parts.scheme,
            ":authority": self.parts.netloc,
            "accept": "text/event-stream, */*",
            "cache-control": "no-cache",
            **more,
        }
        self._h2.send_headers(stream_id, list(headers.items()), end_stream=True)
        stream = self.streams[stream_id] = Stream(reads)
        self._flush()
        return stream

    async def until(self, condition: Any, timeout_s: float = PATIENCE_S) -> None:
        """Return once condition() is true. Raises asyncio.TimeoutError."""

        async def wait() -> None:
            async with self._changed:
                await self._changed.wait_for(condition)

        await asyncio.wait_for(wait(), timeout_s)

    def stop_reading(self) -> None:
        """Read nothing from the socket any more, as a client that is stopped."""
        self._reading.cancel()
        self._reading_side().pause_reading()

    def resume_reading(self) -> None:
        self._reading_side().resume_reading()
        self._reading = asyncio.ensure_future(self._read())

    def _reading_side(self) -> asyncio.ReadTransport:
        transport = self._out.transport
        assert isinstance(transport, asyncio.ReadTransport)
        return transport

    async def _read(self) -> None:
        while data := await self._in.read(65536):
            for event in self._h2.receive_data(data):
                self._take(event)
            self._flush()
            async with self._changed:
                self._changed.notify_all()
        self.is_over = True
        async with self._changed:
            self._changed.notify_all()

    def _take(self, event: Any) -> None:
        if isinstance(event, ConnectionTerminated):
            self.is_over = True
        stream = self.streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is None:
            return
        if isinstance(event, ResponseReceived):
            stream.status = int(dict(event.headers)[":status"])  # type: ignore[index]
        elif isinstance(event, DataReceived):
            stream.body += event.data
            stream.events += stream.reader.feed(event.data)
            size = event.flow_controlled_length
            stream.unread += size
            if size:
                self._h2.increment_flow_control_window(size)
            if stream.reads and stream.unread:
                self._open(event.stream_id)
        elif isinstance(event, StreamEnded):
            stream.ended = True
        elif isinstance(event, StreamReset):
            stream.reset = int(event.error_code)

    def read_on(self, stream: Stream) -> None:
        """Begin to open a stream's window that was left shut."""
        stream.reads = True
        self._open(next(one for one, found in self.streams.items() if found is stream))
        self._flush()

    def _open(self, stream_id: int) -> None:
        stream = self.streams[stream_id]
        with contextlib.suppress(StreamClosedError):  # its end came with its last data
            self._h2.increment_flow_control_window(stream.unread, stream_id)
        stream.unread = 0

    def _flush(self) -> None:
        self._out.write(self._h2.data_to_send())
