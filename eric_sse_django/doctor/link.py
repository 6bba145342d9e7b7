"""One HTTP response, read as it comes: what a client of the site's public address gets."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from eric_sse_django.sse import Event, SSEReader

# Seconds for connecting, and for the beginning of a response.
CONNECT_S = 10.0
READ_BYTES = 65_536


LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def site_of(url: str) -> SplitResult:
    """
    Return the parts of a site's address; without a scheme https, or http on this machine.

    Raises ValueError for what is no address.
    """
    if "://" not in url:
        is_here = url.partition("/")[0].startswith(LOOPBACK)
        url = f"http{'' if is_here else 's'}://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"{url!r} is no address of a site.")
    return parts


class _Reads(io.RawIOBase):
    """What a socket receives, until a deadline: also if it comes byte by byte."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._link.limit()
        return self._link.socket.recv_into(buffer)


class _Bounded:
    """A socket for http.client. The link closes it: an answer may end with its connection."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reads(self._link))

    def sendall(self, data: bytes) -> None:
        self._link.limit()
        self._link.socket.sendall(data)

    def close(self) -> None:
        pass


class Link:
    """A connection with one request; `status`, `version` (10, 11) and `headers` of its answer."""

    def __init__(self, site: SplitResult, insecure: bool = False, last_event_id: str = "") -> None:
        self._site, self._last_event_id = site, last_event_id
        self._context = context(insecure) if site.scheme == "https" else None
        self._until = 0.0  # a time.monotonic()
        self.reader = SSEReader(last_event_id)
        self.events: list[Event] = []
        self.received = 0
        self.ended = False
        self.status = self.version = 0
        self.headers: Mapping[str, str] = {}

    def limit(self) -> None:
        """Let the next call of the socket end at the deadline. Raises TimeoutError after it."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the deadline is over")
        self.socket.settimeout(left_s)

    def open(self, target: str, timeout_s: float, method: str = "GET") -> None:
        """
        Send a request, and return at the answer's headers.

        Those have `timeout_s`, after the connection. Raises OSError, HTTPException.
        """
        host, port = str(self._site.hostname), self._site.port
        if self._context is None:
            self._connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
        else:
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_S, context=self._context
            )
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip, br"}
        if self._last_event_id:
            headers["Last-Event-ID"] = self._last_event_id
        if self._site.username is not None:
            pair = f"{unquote(self._site.username)}:{unquote(self._site.password or '')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        self._connection.connect()
        self.socket: socket.socket = self._connection.sock
        self._until = time.monotonic() + timeout_s
        bounded: Any = _Bounded(self)
        self._connection.sock = bounded
        self._connection.request(method, target, headers=headers)
        self._response = self._connection.getresponse()
        self.status, self.version = self._response.status, self._response.version
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}

    @property
    def is_secure(self) -> bool:
        return self._context is not None

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def date(self) -> datetime | None:
        """Return the `Date` of the answer, None without one."""
        try:
            return parsedate_to_datetime(self.header("date"))
        except (TypeError, ValueError):
            return None

    def read(self, until: float) -> None:
        """Read what comes next, until a time.monotonic() at most."""
        self._until = max(until, time.monotonic() + 0.01)
        try:
            piece = self._response.read1(READ_BYTES)
        except TimeoutError:
            return
        except (OSError, ValueError, http.client.HTTPException):
            piece = b""
        self.ended = not piece
        self.received += len(piece)
        self.events += self.reader.feed(piece)

    def until(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Read until a function returns true; False if it ended, or that took too long."""
        until = time.monotonic() + timeout_s
        while not condition():
            if self.ended or time.monotonic() >= until:
                return False
            self.read(until)
        return True

    def close(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None:
            response = getattr(self, "_response", None)
            if response is not None:
                response.close()
            connection.close()
        if hasattr(self, "socket"):
            self.socket.close()


def context(insecure: bool) -> ssl.SSLContext:
    """Return what checks certificates, unless it is `insecure`."""
    made = ssl.create_default_context()
    if insecure:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def best_protocol(site: SplitResult, insecure: bool) -> str | None:
    """Return the protocol that a browser would get: "h2" or "http/1.1"; None without TLS."""
    if site.scheme != "https":
        return None
    made = context(insecure)
    made.set_alpn_protocols(["h2", "http/1.1"])
    address = str(site.hostname), site.port or 443
    with (
        socket.create_connection(address, CONNECT_S) as plain,
        made.wrap_socket(plain, server_hostname=site.hostname) as secure,
    ):
        return secure.selected_alpn_protocol() or "http/1.1"
