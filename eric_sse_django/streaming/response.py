"""
How a stream's bytes are sent: ASGI's send(), and what it lacks on some servers.

ASGI has no event for "wait until the client has read" (uvicorn, hypercorn and granian do so in
send(); Daphne took 200 MB in 0.14 s for a client that read nothing), and none for "cut this
connection". Both are done through the servers' own objects (see servers/), where those are
found. Without them a stream works too, and a warning is logged once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from eric_sse_django import conf
from eric_sse_django.streaming.servers import Link, link_of
from eric_sse_django.streaming.servers.link import DARK_LINKS, GUARDS

logger = logging.getLogger(__name__)

# Only on Linux: how long sent data may stay unacknowledged, or a client's window closed.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
# Seconds that the kernel waits longer than this app, so that a client that reads nothing is
# ended by the app, and counted as that.
KERNEL_WAITS_S = 2.0

# The servers that were logged in this process; what has no name is not.
_reported: set[str] = {""}


class Response:
    """One response: its headers, with the first chunk, and its body."""

    __slots__ = ("_began", "_is_direct", "_is_gated", "_link", "_send", "_start")

    def __init__(
        self,
        send: Any,
        receive: Any = None,
        scope: Any = None,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """
        An application's arguments: send() is used, the others help to find the server.

        Without `headers` they have been sent already.
        """
        self._send = send
        self._start: dict[str, Any] | None = None
        if headers is not None:
            self._start = {"type": "http.response.start", "status": 200, "headers": headers}
        self._link: Link
        self._link, self._is_direct = link_of(send, receive, scope)
        self._began, self._is_gated = False, self._link.is_gated

    def write(self, chunk: bytes, more: bool) -> Awaitable[None]:
        """Send a chunk, and wait until the server can take the next; `more` False ends it."""
        event = {"type": "http.response.body", "body": chunk, "more_body": more}
        if more and self._began and not self._is_gated:
            # Without a coroutine in between, for each delivery.
            sent: Awaitable[None] = self._send(event)
            return sent
        return self._write(event, more)

    def at_once(self) -> Callable[[bytes], bool | None] | None:
        """
        Return what sends a chunk without waiting, in any task: see Link.write().

        None before the first chunk, after the last, and where no server can: only Daphne's and
        uvicorn's own send() are known to need no task. hypercorn's and a middleware's may ask in
        which task they run.
        """
        return self._link.write if self._is_direct and self._began else None

    async def _write(self, event: dict[str, Any], more: bool) -> None:
        if not more:
            self.release()
        elif self._is_gated:  # what was written at once may have filled it
            await self._opened()
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)
        await self._send(event)
        if more and not self._began:
            self._began = True
            if self._link.is_gated:
                self._link.begin()
            limits_silence = _limit_silence(self._link)
            if self._link.server not in _reported:
                _report(self._link, limits_silence)
        if more and self._is_gated:
            await self._opened()

    async def _opened(self) -> None:
        if (full := self._link.full()) is not None:
            await full

    def release(self) -> None:
        """Release the server's objects. May be called twice."""
        self._is_direct = self._is_gated = False
        self._link.release()

    def cut(self) -> None:
        """End it without what its client did not read, if the server can; no other response."""
        self.release()
        self._link.cut()

    def stopping(self) -> Callable[[], bool] | None:
        """Return a function that returns whether the server stops by itself; None if unknown."""
        return self._link.stopping()


def _limit_silence(link: Link) -> bool:
    """
    Limit the time for which the kernel sends to a client whose link went dark; if it can.

    By default it sends an unacknowledged heartbeat again for some 15 minutes. Not less than the
    deadline of a write, which is for a client that is connected and does not read.
    """
    found = _socket(link.connection())
    if found is None or _USER_TIMEOUT is None:
        return False
    limit_s = max(conf.several("HEARTBEAT_S", "SEND_TIMEOUT_S")) + KERNEL_WAITS_S
    # A copy of the descriptor: uvloop's sockets have no setsockopt().
    with (
        contextlib.suppress(OSError),  # a Unix socket, not TCP
        socket.socket(fileno=os.dup(found.fileno())) as copy,
    ):
        copy.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(limit_s * 1_000))
    return True


def _socket(transport: Any) -> Any:
    """Return the socket of a transport of asyncio or of Twisted, None for others."""
    if hasattr(transport, "get_extra_info"):
        return transport.get_extra_info("socket")
    found = getattr(transport, "getHandle", lambda: None)()
    return found if hasattr(found, "fileno") else None


def _report(link: Link, limits_silence: bool) -> None:
    """Log, once for each server, which guards of a stream it has, and which it lacks."""
    _reported.add(link.server)
    missing = link.missing() if limits_silence else link.missing() | {DARK_LINKS}
    found = ", ".join(guard for guard in GUARDS if guard not in missing)
    logger.info("guards of streams found server=%r guards=%r", link.server, found)
    if missing:
        why = link.why if link.lacks else "an object of this server was not found"
        logger.warning(
            "guards of streams missing server=%r missing=%r: %s (docs/deployment.md, Servers)",
            *(link.server, ", ".join(guard for guard in GUARDS if guard in missing), why),
        )
