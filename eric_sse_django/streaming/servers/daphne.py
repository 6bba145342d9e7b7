"""
Daphne, over HTTP/1.1 and HTTP/2: its send() never waits for the client.

Private: daphne.server.Server's `handle_reply`, `connections`, the `clean_headers` and
`client_addr` of daphne.http_protocol.WebRequest; of Twisted's HTTP/2 the H2Stream's `streamID`
and `_conn`, the H2Connection's `_outboundStreamQueues`, `wrappedProtocol` and `getHandle` of
transports.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any

from eric_sse_django.streaming.servers.link import BACK_PRESSURE, CUT, Link, is_of

# Bytes of one HTTP/2 stream that may wait behind its connection: as much as a TCP transport of
# Twisted's takes before it asks to pause.
MAX_QUEUED_BYTES = 65_536
# Seconds between two checks of them. No callback reports when they are sent; a stream that waits
# this long has a slow client.
LOOK_S = 0.05


def recognize(one: Any) -> Link | None:
    """Return the link of a response whose send() this is."""
    if type(one) is not partial or not one.args:
        return None
    request = one.args[0]
    return _link(request) if hasattr(type(request), "registerProducer") else None


def by_scope(scope: Any) -> Link | None:
    """
    Return the link of the response to a request, by its scope: for a send() without a link.

    Compares all connections of the server: 1 ms for 20,000.
    """
    for server in _servers():
        for request in list(server.connections):
            headers = getattr(request, "clean_headers", None)
            if headers is not None and is_of(scope, headers):
                return _link(request)
    return None


def _servers() -> Iterator[Any]:
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    for reader in getattr(reactor, "getReaders", list)():
        factory = getattr(reader, "factory", None)
        while factory is not None:
            if hasattr(getattr(factory, "server", None), "connections"):
                yield factory.server
            factory = getattr(factory, "wrappedFactory", None)  # TLS


def _link(request: Any) -> Link:
    streams = hasattr(request.channel, "streamID")
    return HTTP2Link(request) if streams else DaphneLink(request)


class DaphneLink(Link):
    """
    A response over HTTP/1.1. (An IPushProducer.)

    `shut` is a future while Twisted asks to pause, because the connection's buffer is full. (An
    asyncio.Event takes 0.8 KiB.)
    """

    __slots__ = ("_request", "shut")

    server = "Daphne"
    lacks = ()  # it does not recycle itself
    is_gated = True

    def __init__(self, request: Any) -> None:
        self.shut: asyncio.Future[None] | None = None
        self._request = request

    def begin(self) -> None:
        request = self._request
        if not request.producer and request.channel is not None:
            request.registerProducer(self, True)

    def full(self) -> Awaitable[None] | None:
        return self.shut

    def write(self, chunk: bytes) -> bool:
        """Do what Daphne's send() does, without its checks."""
        if self.shut is not None:
            return False
        self._request.write(chunk)  # may shut it
        return True

    def release(self) -> None:
        if getattr(self._request, "producer", None) is self:
            with contextlib.suppress(AttributeError):  # Twisted's, once the connection is gone
                self._request.unregisterProducer()
        self.resumeProducing()

    def cut(self) -> None:
        transport = getattr(self._request.channel, "transport", None)
        if transport is not None:
            transport.abortConnection()

    def missing(self) -> set[str]:
        channel = self._request.channel
        found = {
            BACK_PRESSURE: getattr(self._request, "producer", None) is self,
            CUT: hasattr(getattr(channel, "transport", None), "abortConnection"),
        }
        return {guard for guard, is_found in found.items() if not is_found}

    def connection(self) -> Any:
        return _below_tls(getattr(self._request.channel, "transport", None))

    def belongs_to(self, scope: Any) -> bool:
        request = self._request
        return is_of(scope, request.clean_headers, request.client_addr)

    # IPushProducer ----------------------------------------------------------------

    def pauseProducing(self) -> None:
        if self.shut is None:
            self.shut = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:
        shut, self.shut = self.shut, None
        if shut is not None and not shut.done():
            shut.set_result(None)

    def stopProducing(self) -> None:
        self.resumeProducing()


class HTTP2Link(DaphneLink):
    """
    A stream of an HTTP/2 connection, which is asked to pause when its own window is full.

    Not when the connection is: a client that opens its windows and then reads nothing had
    gigabytes queued.
    """

    __slots__ = ()

    server = "Daphne (HTTP/2)"

    def full(self) -> Awaitable[None] | None:
        if self.shut is None and self._queued() > MAX_QUEUED_BYTES:
            self.pauseProducing()
            asyncio.get_running_loop().call_later(LOOK_S, self._look)
        return self.shut

    def write(self, chunk: bytes) -> bool:
        return self.full() is None and super().write(chunk)

    def _queued(self) -> int:
        channel = self._request.channel
        if channel is None:
            return 0
        queues = getattr(channel._conn, "_outboundStreamQueues", {})
        queue = queues.get(channel.streamID, ())
        return sum(len(chunk) for chunk in queue if isinstance(chunk, bytes))

    def missing(self) -> set[str]:
        channel = self._request.channel
        connection = getattr(channel, "_conn", None)
        found = {
            BACK_PRESSURE: hasattr(connection, "_outboundStreamQueues"),
            CUT: hasattr(channel, "abortConnection"),
        }
        return {guard for guard, is_found in found.items() if not is_found}

    def _look(self) -> None:
        if self.shut is None:
            return
        channel = self._request.channel
        # While its own window is full, Twisted calls resumeProducing() when it opens.
        shut = channel is not None and channel._conn.remainingOutboundWindow(channel.streamID) <= 0
        if self._queued() <= MAX_QUEUED_BYTES // 2 and not shut:
            self.resumeProducing()
        else:
            asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def cut(self) -> None:
        request = self._request
        channel = request.channel
        if channel is None or request.finished:
            return
        # RST_STREAM for this stream: the others on the connection continue.
        channel.abortConnection()
        # Twisted notifies the request of a reset by its client, not of this one; Daphne would
        # keep it forever.
        from twisted.internet.error import ConnectionAborted  # noqa: PLC0415 - Daphne has it
        from twisted.python.failure import Failure  # noqa: PLC0415

        request.connectionLost(Failure(ConnectionAborted()))  # type: ignore[no-untyped-call]

    def connection(self) -> Any:
        connection = getattr(self._request.channel, "_conn", None)
        return _below_tls(getattr(connection, "transport", None))


def _below_tls(transport: Any) -> Any:
    """Return the TCP transport of a TLS one, which has no socket itself."""
    while hasattr(transport, "wrappedProtocol"):
        transport = transport.transport
    return transport
