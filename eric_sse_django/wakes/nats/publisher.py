"""
Publishing to NATS without nats-py: its commands on a socket.

Importing nats-py takes 70 ms of CPU, for which the first message of each process would wait. At
100 messages a second it takes 260 µs for each; this takes 85.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

from eric_sse_django.wakes.fabric import Parcel
from eric_sse_django.wakes.layer import LAYER_TIMEOUT_S, whole_or_closed, without_waiting
from eric_sse_django.wakes.nats.protocol import (
    IDLE_S,
    JOIN_S,
    MAX_BYTES,
    TRUST_S,
    ServerAddress,
    Site,
    encoded,
    error_of,
    greeting_of,
)

# Lines that a server sends together at most. Its pings end when few of them are not answered.
MAX_LINES = 100


class NatsPublisher:
    """Publishes on the caller's thread; connects when it sends."""

    sends_at_once = True

    def __init__(self, site: Site) -> None:
        self._site = site
        self._link: Link | None = None
        self._used_at = self._verified_at = 0.0

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Send, within JOIN_S and 3 * LAYER_TIMEOUT_S. Raises OSError."""
        messages = self._messages(parcels)
        now = time.monotonic()
        if self._link is not None and now - self._used_at > IDLE_S:
            self.close()
        if self._link is None:
            # Not verified: only after its first message the server refuses a subject.
            self._link, self._verified_at = self._connect(), float("-inf")
        self._used_at = now
        try:
            self._link.publish(messages)
            if not parcels or now - self._verified_at > TRUST_S:
                self._link.verify()
                self._verified_at = now
        except OSError:
            self.close()
            raise

    def send_at_once(self, parcels: Sequence[Parcel]) -> bool:
        """Send if the connection takes all of it at once; else close it, and return False."""
        link, now = self._link, time.monotonic()
        if link is None or now - self._used_at > IDLE_S:
            return False
        self._used_at = now
        return whole_or_closed(lambda: link.publish_at_once(self._messages(parcels)), self.close)

    def _messages(self, parcels: Sequence[Parcel]) -> list[tuple[str, bytes]]:
        subject_of = self._site.subject_of
        return [(subject_of(parcel.channel), encoded(parcel)) for parcel in parcels]

    def probe(self) -> None:
        """Publish what nobody receives, and wait for the server's answer. Raises OSError."""
        link = self._connect()
        try:
            link.publish([(self._site.subject("health"), b"")])
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
        for server in self._site.shuffled():
            try:
                return connect(server, self._site.options)
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

    def greet(self) -> dict[str, Any]:
        """Return the server's greeting; raise ConnectionError if it is no NATS."""
        greeting = greeting_of(self._line())
        self._max_payload = greeting["max_payload"]
        return greeting

    def log_in(self, line: bytes) -> None:
        """Send CONNECT, and wait until the server has accepted it."""
        self.socket.sendall(line)
        self.verify()

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send messages, and wait for no answer; raise what the server has sent meanwhile."""
        self._read_what_came()
        self.socket.sendall(self._commands(messages))

    def publish_at_once(self, messages: Sequence[tuple[str, bytes]]) -> bool:
        """As publish(), without waiting; return whether all was sent. Raises OSError."""
        data = self._commands(messages)
        with without_waiting(self.socket):
            self._read_what_came()  # and answer it
            return self.socket.send(data) == len(data)

    def _commands(self, messages: Sequence[tuple[str, bytes]]) -> bytes:
        parts = []
        for subject, data in messages:
            if len(data) > self._max_payload:
                raise OSError(f"a message of {len(data)} bytes is too long for the server")
            parts.append(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(data), data))
        return b"".join(parts)

    def verify(self) -> None:
        """Wait until the server has read all that was sent; raise what it reports."""
        self.socket.sendall(b"PING\r\n")
        while self._handle(self._line()) != b"PONG":
            pass

    def close(self) -> None:
        self.socket.close()

    def _read_what_came(self) -> None:
        """Handle complete lines without waiting for one; raise if the server has gone."""
        with (
            without_waiting(self.socket),
            contextlib.suppress(BlockingIOError, ssl.SSLWantReadError),
        ):
            while True:
                self._receive()
        while b"\r\n" in self._received:
            self._handle(self._line())

    def _handle(self, line: bytes) -> bytes:
        if line.startswith(b"-ERR"):
            raise error_of(line)
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
        # What comes faster than it is read would never end.
        if len(self._received) > MAX_BYTES or self._received.count(b"\r\n") > MAX_LINES:
            raise ConnectionError("NATS sends too much to a publisher")


def connect(server: str, options: Mapping[str, Any]) -> Link:
    """Return a connection that the server has accepted; raises OSError."""
    address = ServerAddress.of(server)
    link = Link(socket.create_connection((address.host, address.port), LAYER_TIMEOUT_S))
    try:
        link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_first = bool(options.get("tls_handshake_first"))
        if is_first or address.must_encrypt(link.greet(), options):
            context, name = address.tls(options)
            link.socket = context.wrap_socket(link.socket, server_hostname=name)
        if is_first:
            link.greet()
        link.log_in(address.connect_line(options))
    except BaseException:
        link.close()
        raise
    return link
