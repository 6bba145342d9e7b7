"""
Publishing to NATS without importing nats-py: its commands on a socket.

To import it takes 70 ms of CPU, which the first message of each process would wait for, and a
send through its loop takes 250 µs, during which a publisher's thread waits for the interpreter.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from eric_sse_django.wakes.fabric import Parcel
from eric_sse_django.wakes.layer import LAYER_TIMEOUT_S

# What FABRIC["OPTIONS"] may have beside; with anything else (keys, credentials, callbacks) nats-py
# publishes.
KNOWN = frozenset(
    ("name", "user", "password", "token", "tls", "tls_hostname", "tls_handshake_first")
)
PORT = 4222
# Seconds for connecting to any of the servers.
JOIN_S = 5.0
# Seconds for which a connection is trusted: only the answer to a ping shows that it works.
TRUST_S = 1.0
# Seconds without a send after which it connects again: a server closes what answers no pings.
IDLE_S = 30.0


def encoded(parcel: Parcel) -> bytes:
    """Return the bytes of a parcel's message."""
    return json.dumps(dict(parcel.message), separators=(",", ":")).encode()


class NatsPublisher:
    """Publishes on the caller's thread; connects when it sends."""

    def __init__(
        self,
        servers: Sequence[str],
        options: Mapping[str, Any],
        subject_of: Callable[[int | None], str],
    ) -> None:
        self._servers, self._options = servers, options
        self._subject_of = subject_of
        self._link: Link | None = None
        self._used_at = self._verified_at = 0.0

    @staticmethod
    def can_use(options: Mapping[str, Any]) -> bool:
        """Return whether it knows how to identify itself."""
        login = (options.get(name, "") for name in ("user", "password", "token"))
        return options.keys() <= KNOWN and all(isinstance(part, str) for part in login)

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Send, 8 * LAYER_TIMEOUT_S at most. Raises OSError."""
        messages = [(self._subject_of(parcel.channel), encoded(parcel)) for parcel in parcels]
        now = time.monotonic()
        if self._link is not None and now - self._used_at > IDLE_S:
            self.close()
        if self._link is None:
            self._link, self._verified_at = self._connect(), now
        self._used_at = now
        try:
            self._link.publish(messages)
            if now - self._verified_at > TRUST_S:
                self._link.verify()
                self._verified_at = now
        except OSError:
            self.close()
            raise

    def probe(self, subject: str) -> None:
        """Publish nothing to a subject, and wait for the server's answer. Raises OSError."""
        link = self._connect()
        try:
            link.publish([(subject, b"")])
            link.verify()
        finally:
            link.close()

    def close(self) -> None:
        """Close the connection. The next send() opens another."""
        closing, self._link = self._link, None
        if closing is not None:
            closing.close()

    def _connect(self) -> Link:
        """Connect to any of the servers; raise what the last one of them raises."""
        error: OSError = ConnectionError("no NATS server is configured")
        until = time.monotonic() + JOIN_S
        for server in random.sample(self._servers, len(self._servers)):
            try:
                return connect(server, self._options)
            except OSError as its:
                error = its
            if time.monotonic() > until:
                break
        raise error


class Link:
    """One connection, as the protocol of NATS has it: lines, and a payload after some."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._received = bytearray()
        self._max_payload = 0

    def greeting(self) -> dict[str, Any]:
        """Return what the server sends first; raise ConnectionError if it is no NATS."""
        line = self._line()
        try:
            info = json.loads(line.removeprefix(b"INFO "))
            self._max_payload = int(info["max_payload"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError("the server is no NATS") from error
        return dict(info)

    def log_in(self, options: Mapping[str, Any]) -> None:
        """Send CONNECT, and wait until the server has accepted it."""
        self.socket.sendall(b"CONNECT %s\r\n" % json.dumps(dict(options)).encode())
        self.verify()

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send messages, and wait for no answer; raise what the server has sent meanwhile."""
        self._read_what_came()
        parts = []
        for subject, data in messages:
            if len(data) > self._max_payload:
                raise OSError(f"a message of {len(data)} bytes is too long for the server")
            parts.append(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(data), data))
        self.socket.sendall(b"".join(parts))

    def verify(self) -> None:
        """Wait until the server has read all that was sent; raise what it reports."""
        self.socket.sendall(b"PING\r\n")
        while self._handle(self._line()) != b"PONG":
            pass

    def close(self) -> None:
        self.socket.close()

    def _read_what_came(self) -> None:
        """Handle complete lines without waiting for one; raise if the server has gone."""
        self.socket.settimeout(0)
        try:
            while True:
                self._receive()
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self.socket.settimeout(LAYER_TIMEOUT_S)
        while b"\r\n" in self._received:
            self._handle(self._line())

    def _handle(self, line: bytes) -> bytes:
        if line.startswith(b"-ERR"):
            raise ConnectionError(line[4:].decode(errors="replace").strip(" '"))
        if line == b"PING":
            self.socket.sendall(b"PONG\r\n")
        return line

    def _line(self) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            self._receive()
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        return line

    def _receive(self) -> None:
        if not (part := self.socket.recv(16_384)):
            raise ConnectionError("NATS closed the connection")
        self._received += part


class _Address(NamedTuple):
    host: str
    port: int
    is_encrypted: bool
    user: str | None
    password: str | None


def connect(server: str, options: Mapping[str, Any]) -> Link:
    """Return a connection that the server has accepted; raises OSError."""
    parts = urlsplit(server)
    address = _Address(
        *(parts.hostname or "", parts.port or PORT, parts.scheme == "tls"),
        *(parts.username, parts.password),
    )
    link = Link(socket.create_connection((address.host, address.port), LAYER_TIMEOUT_S))
    try:
        link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _greet(link, address, options)
        link.log_in(_login(address, options))
    except BaseException:
        link.close()
        raise
    return link


def _greet(link: Link, address: _Address, options: Mapping[str, Any]) -> None:
    """Read the server's greeting, and encrypt: before it or after it."""

    def encrypt() -> None:
        context: ssl.SSLContext = options.get("tls") or ssl.create_default_context()
        name = options.get("tls_hostname") or address.host
        link.socket = context.wrap_socket(link.socket, server_hostname=name)

    if options.get("tls_handshake_first"):
        encrypt()
        link.greeting()
    elif link.greeting().get("tls_required"):
        encrypt()
    elif address.is_encrypted:
        raise ConnectionError("the server does not encrypt, and its address is tls://")


def _login(address: _Address, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of CONNECT, as nats-py gives them."""
    found: dict[str, Any] = {"verbose": False, "pedantic": False, "protocol": 1}
    found |= {"lang": "python3", "name": options.get("name", "eric_sse_django")}
    user, password, token = (options.get(name) for name in ("user", "password", "token"))
    if user and password:
        return found | {"user": user, "pass": password}
    if token:
        return found | {"auth_token": token}
    if address.user is not None and address.password is None:
        return found | {"auth_token": address.user}
    if address.user is not None:
        return found | {"user": address.user, "pass": address.password}
    return found
