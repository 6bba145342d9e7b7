"""
Where a stream's bytes leave: ASGI's send(), and what it lacks on some servers.

In ASGI there is no word for "wait until the client has read" (uvicorn, hypercorn and granian
do so in send(); Daphne took 200 MB in 0.14 s for a client that read nothing), and none for
"cut this connection". Both are done through the servers' own objects here, where those are
found; without them a stream works all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable
from typing import Any

from eric_sse_django import conf

# Linux's alone: how long what was sent may stay unacknowledged.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


class Outlet:
    """The body of one response."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._server_send = _unwrapped(send)
        self._gate: Gate | None = None
        self._began = self._is_plain = False

    def write(self, chunk: bytes, more: bool) -> Awaitable[None]:
        """Send a chunk, and wait until the server can take the next; `more` False ends it."""
        event = {"type": "http.response.body", "body": chunk, "more_body": more}
        if more and self._began and self._gate is None:
            # Without a coroutine in between, for each delivery.
            sent: Awaitable[None] = self._send(event)
            return sent
        return self._write(event, more)

    def write_at_once(self, chunk: bytes) -> bool | None:
        """
        Send a chunk without waiting, in whatever task, and return True.

        False, and nothing sent, where the server would wait now; None where it is never so:
        only of Daphne's and uvicorn's own send() is it known that no task is needed.
        hypercorn's and a middleware's may ask in which they run.
        """
        if not self._is_plain:
            return None
        if self._gate is not None:
            return self._gate.write(chunk)
        event = {"type": "http.response.body", "body": chunk, "more_body": True}
        sending = self._send(event)
        try:
            sending.send(None)
        except StopIteration:
            return True
        # uvicorn waits for its client before it writes, not after.
        sending.close()
        return False

    async def _write(self, event: dict[str, Any], more: bool) -> None:
        if not more:
            self.release()
        else:
            await self._opened()  # what was written at once may have filled it
        await self._send(event)
        if not more:
            return
        if not self._began:
            self._began = True
            self._gate = _gate_of(self._server_send)
            self._is_plain = self._send is self._server_send and _is_plain(self._send)
            self._limit_silence()
        await self._opened()

    async def _opened(self) -> None:
        if self._gate is not None and self._gate.shut is not None:
            await self._gate.shut

    def _limit_silence(self) -> None:
        """
        Have the kernel give up a client whose link went dark, where the socket is found.

        By itself it sends for some 15 minutes again what nobody acknowledges: a heartbeat.
        """
        limit_ms = int(conf.get("HEARTBEAT_S") * 1_000)
        for found in map(_socket, _transports(self._server_send)):
            if found is not None and _USER_TIMEOUT is not None:
                # A copy of the descriptor: uvloop's sockets have no setsockopt().
                with (
                    contextlib.suppress(OSError),  # no TCP: a Unix socket
                    socket.socket(fileno=os.dup(found.fileno())) as copy,
                ):
                    copy.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, limit_ms)

    def release(self) -> None:
        """Let go of the server's objects. May be called twice."""
        self._is_plain = False
        if self._gate is not None:
            self._gate.release()
            self._gate = None

    def cut(self) -> None:
        """Close the connection without what its client did not read, where the server can."""
        self.release()
        for transport in _transports(self._server_send):
            for name in ("abortConnection", "abort"):
                abort = getattr(transport, name, None)
                if abort is not None:
                    abort()
                    return


class Gate:
    """
    Shut by Twisted while the client's connection takes no more. (An IPushProducer.)

    `shut` is then a future that is done once it opens. (An asyncio.Event takes 0.8 KiB.)
    """

    __slots__ = ("_request", "shut")

    def __init__(self, request: Any) -> None:
        self.shut: asyncio.Future[None] | None = None
        self._request = request
        request.registerProducer(self, True)

    def write(self, chunk: bytes) -> bool:
        """Send a chunk unless it is shut: what Daphne's send() does, without its checks."""
        if self.shut is not None:
            return False
        self._request.write(chunk)  # may shut it
        return True

    def release(self) -> None:
        with contextlib.suppress(AttributeError):  # Twisted's, once the connection is gone
            self._request.unregisterProducer()
        self.resumeProducing()

    def pauseProducing(self) -> None:
        if self.shut is None:
            self.shut = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:
        shut, self.shut = self.shut, None
        if shut is not None and not shut.done():
            shut.set_result(None)

    def stopProducing(self) -> None:
        self.resumeProducing()


def _unwrapped(send: Any) -> Any:
    """Return the server's send(), from below the session middleware of Channels."""
    while (real := getattr(getattr(send, "__self__", None), "real_send", None)) is not None:
        send = real
    return send


def _daphne_request(send: Any) -> Any:
    """Return Daphne's request: send is functools.partial(server.handle_reply, request)."""
    request = next(iter(getattr(send, "args", ())), None)
    return request if hasattr(request, "registerProducer") else None


def _is_plain(send: Any) -> bool:
    """Whether it is Daphne's or uvicorn's send(), which wait at most for a client that is slow."""
    owner = _daphne_request(send) or getattr(send, "__self__", None)
    return type(owner).__module__.partition(".")[0] in ("daphne", "uvicorn")


def _gate_of(send: Any) -> Gate | None:
    request = _daphne_request(send)
    if request is None or request.producer or request.channel is None:
        return None
    return Gate(request)


def _socket(transport: Any) -> Any:
    """Return the socket of a transport of asyncio's or of Twisted's, None for others."""
    if hasattr(transport, "get_extra_info"):
        return transport.get_extra_info("socket")
    found = getattr(transport, "getHandle", lambda: None)()
    return found if hasattr(found, "fileno") else None


def _transports(send: Any) -> list[Any]:
    """Return what may be the connection: Daphne's, uvicorn's, hypercorn's."""
    channel = getattr(_daphne_request(send), "channel", None)
    cycle = getattr(send, "__self__", None)
    return [
        getattr(channel, "transport", None),
        getattr(cycle, "transport", None),
        getattr(_hypercorn_writer(send), "transport", None),
    ]


def _hypercorn_writer(send: Any) -> Any:
    """Return the writer of hypercorn's connection: its stream sends through its protocol's."""
    for _ in range(3):
        owner = getattr(send, "__self__", None)
        writer = getattr(owner, "writer", None)
        if writer is not None:
            return writer
        send = getattr(owner, "send", None)
    return None
