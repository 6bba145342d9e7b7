"""
hypercorn, over HTTP/1.1, HTTP/2 and HTTP/3.

Private: HTTPStream's `send`, `scope`, `stream_id` and `context`; H2Protocol's
`stream_buffers`, `connection`, `priority`, `has_data` and `_flush`; TCPServer's `writer`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import MethodType
from typing import Any, ClassVar

from eric_sse_django.streaming.servers.link import (
    BACK_PRESSURE,
    CUT,
    DARK_LINKS,
    RECYCLING,
    Link,
    is_of,
)

logger = logging.getLogger(__name__)

# INTERNAL_ERROR. Browsers treat CANCEL and NO_ERROR differently.
ERROR_CODE = 2


def recognize(one: Any) -> Link | None:
    """Return the link of a response whose send() this is."""
    stream = one.__self__ if type(one) is MethodType else None
    if type(stream).__module__ != "hypercorn.protocol.http_stream":
        return None
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    if hasattr(protocol, "stream_buffers"):
        return HTTP2Link(stream, protocol)
    server = getattr(getattr(protocol, "send", None), "__self__", None)
    return (HypercornLink if hasattr(server, "writer") else HTTP3Link)(stream, protocol)


class HypercornLink(Link):
    """A response over HTTP/1.1."""

    __slots__ = ("_protocol", "_stream")

    server = "hypercorn"
    lacks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, stream: Any, protocol: Any) -> None:
        self._stream = stream
        self._protocol = protocol

    def cut(self) -> None:
        self.connection().abort()

    def missing(self) -> set[str]:
        context = getattr(self._stream, "context", None)
        knows = hasattr(context, "terminate") and hasattr(context, "terminated")
        return {*self.lacks} if knows else {*self.lacks, RECYCLING}

    def connection(self) -> Any:
        return self._protocol.send.__self__.writer.transport

    def belongs_to(self, scope: Any) -> bool:
        mine = self._stream.scope
        return is_of(scope, mine["headers"], mine.get("client"))

    def stopping(self) -> Callable[[], bool] | None:
        """After max_requests, and when its parent process has received a signal."""
        if RECYCLING in self.missing():
            return None
        context = self._stream.context
        return lambda: bool(context.terminate.is_set() or context.terminated.is_set())


class HTTP2Link(HypercornLink):
    """
    A stream of an HTTP/2 connection.

    hypercorn waits for one whose buffer is full, but not while its client's window is shut: then
    it keeps what comes without a bound. So each write waits until the one before has left.
    """

    __slots__ = ()

    server = "hypercorn (HTTP/2)"
    is_gated = True

    def full(self) -> Awaitable[None] | None:
        buffer = self._buffer()
        if not getattr(buffer, "buffer", None):
            return None
        drained: Awaitable[None] = buffer.drain()
        return drained

    def missing(self) -> set[str]:
        protocol, buffer = self._protocol, self._buffer()
        found = {
            BACK_PRESSURE: buffer is None or hasattr(buffer, "buffer"),
            CUT: all(hasattr(protocol, name) for name in ("connection", "priority", "_flush")),
        }
        return super().missing() | {guard for guard, is_found in found.items() if not is_found}

    def _buffer(self) -> Any:
        return self._protocol.stream_buffers.get(self._stream.stream_id)

    def cut(self) -> None:
        """Reset the stream; the others on the connection continue."""
        if self._buffer() is not None:
            _hold(asyncio.ensure_future(self._reset()))

    async def _reset(self) -> None:
        protocol, stream_id = self._protocol, self._stream.stream_id
        buffer = self._buffer()
        if buffer is None:
            return
        protocol.connection.reset_stream(stream_id, error_code=ERROR_CODE)
        # What it has still is dropped, and then its task finds the stream closed.
        await buffer.close()
        protocol.priority.unblock(stream_id)
        await protocol.has_data.set()
        await protocol._flush()  # may wait: for the connection's client to read


class HTTP3Link(HypercornLink):
    """A stream over QUIC; this app uses none of its objects."""

    __slots__ = ()

    server = "hypercorn (HTTP/3)"
    lacks = (CUT, DARK_LINKS)
    why = "this app does not use the objects of its QUIC connection"

    def cut(self) -> None:
        """Do nothing: no way is known."""

    def connection(self) -> Any:
        return None


_resets: set[asyncio.Future[None]] = set()


def _hold(reset: asyncio.Future[None]) -> None:
    """Keep a task until it is done. A connection may be gone before it could write."""
    _resets.add(reset)

    def done(reset: asyncio.Future[None]) -> None:
        _resets.discard(reset)
        if not reset.cancelled() and (error := reset.exception()) is not None:
            logger.info("a stream was not reset error=%r", error)

    reset.add_done_callback(done)
