"""
Sending through channels_redis' pub/sub layer without importing it: one PUBLISH on a socket.

Importing the layer takes 45 ms of CPU, for which the first message of each process waited. Its
group_send() takes 0.3 ms, during which a publisher's thread waits for the interpreter. The bytes
are those of the layer: tests/streams/test_pubsub.py compares them.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from channels.layers import channel_layers

from eric_sse_django import conf
from eric_sse_django.wakes.fabric import Parcel
from eric_sse_django.wakes.layer import (
    LAYER_TIMEOUT_S,
    importing,
    whole_or_closed,
    without_waiting,
)

BACKEND = "channels_redis.pubsub.RedisPubSubChannelLayer"
# What a configuration may have beside; with anything else (encryption, TLS, Sentinel, several
# hosts), the layer itself is used.
_KNOWN = frozenset({"hosts", "prefix"})
# Of channels_redis, whose bytes are known: of any other version the layer itself is used.
_MAJOR_VERSION = "4."
_PORT = 6379
# Bytes of one answer at most: it is a number, or an error.
MAX_ANSWER_BYTES = 65_536


class Server(NamedTuple):
    """A Redis; `login` is the username, if there is one, and the password."""

    host: str
    port: int
    login: tuple[str, ...] = ()


class Group(NamedTuple):
    """A group of the layer: its Redis, and its channel there."""

    server: Server
    name: bytes


class RedisPublisher:
    """Sends messages to a group of the layer, on the caller's thread; connects when it sends."""

    sends_at_once = True

    def __init__(self, group: Group) -> None:
        self._server, self._name = group
        self._socket: socket.socket | None = None
        self._unread = 0  # answers
        self._received = b""  # the beginning of one
        with importing:
            self._pack = import_module("msgpack").packb

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Send to the group; each waits 3 * LAYER_TIMEOUT_S at most. Raises OSError."""
        if not parcels:
            self._take_answers()
        for parcel in parcels:
            self._send(self._command(parcel))

    def send_at_once(self, parcels: Sequence[Parcel]) -> bool:
        """Send if the connection takes all of it at once; else close it, and return False."""
        if self._socket is None:
            return False
        commands = list(map(self._command, parcels))
        return whole_or_closed(lambda: self._publish_at_once(commands), self.close)

    def _publish_at_once(self, commands: Sequence[bytes]) -> bool:
        """Send without waiting; return whether all was sent. Raises OSError."""
        assert self._socket is not None
        data = b"".join(commands)
        with without_waiting(self._socket):
            self._read_what_came()
            self._unread += len(commands)
            return self._socket.send(data) == len(data)

    def _take_answers(self) -> None:
        try:
            if self._socket is not None:
                self._exchange(b"")
        except OSError:
            self.close()
            raise

    def _command(self, parcel: Parcel) -> bytes:
        return resp(b"PUBLISH", self._name, self._pack(dict(parcel.message)))

    def _send(self, command: bytes) -> None:
        is_kept = self._socket is not None
        try:
            self._ask(command)
        except TimeoutError:
            self.close()
            raise
        except OSError:
            self.close()
            if not is_kept:
                raise
            self._ask(command)  # Redis closes what was idle for a while

    def close(self) -> None:
        """Close the connection. The next send() opens another."""
        closing, self._socket, self._unread, self._received = self._socket, None, 0, b""
        if closing is not None:
            closing.close()

    def _ask(self, command: bytes) -> None:
        if self._socket is None:
            host, port, login = self._server
            self._socket = socket.create_connection((host, port), LAYER_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if login:
                self._exchange(resp(b"AUTH", *(part.encode() for part in login)))
        self._exchange(command)

    def _exchange(self, command: bytes) -> None:
        """
        Send a command whose answer is one line, and take the answers that came before its own.

        Raises ConnectionError for an error.
        """
        assert self._socket is not None
        if command:
            self._socket.sendall(command)
            self._unread += 1
        while self._unread:
            self._receive()

    def _read_what_came(self) -> None:
        """Take the answers that are there; raise if Redis has gone, or refuses."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receive()

    def _receive(self) -> None:
        assert self._socket is not None
        if not (part := self._socket.recv(4_096)):
            raise ConnectionError("Redis closed the connection")
        self._received += part
        *answers, self._received = self._received.split(b"\r\n")
        self._unread -= len(answers)
        for answer in answers:
            if answer.startswith(b"-"):
                raise ConnectionError(answer[1:].decode(errors="replace").strip())
        # What comes faster than it is read would never end.
        if self._unread < 0 or len(self._received) > MAX_ANSWER_BYTES:
            raise ConnectionError("Redis sends what is no answer to a publisher")


def resp(*parts: bytes) -> bytes:
    """Return a command as Redis' protocol has it: an array of strings."""
    strings = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), strings)


def group_of(name: str) -> Group | None:
    """Return a group of the project's layer; None where only the layer can reach it."""
    alias = conf.get("CHANNEL_LAYER")
    layer = channel_layers.configs.get(alias) if alias is not None else None
    if layer is None or layer.get("BACKEND") != BACKEND:
        return None
    config = layer.get("CONFIG", {})
    server = server_of(config.get("hosts")) if config.keys() <= _KNOWN else None
    if server is None or not _version().startswith(_MAJOR_VERSION):
        return None
    return Group(server, f"{config.get('prefix', 'asgi')}__group__{name}".encode())


def _version() -> str:
    with importing:  # only here: each management command would wait 6 ms for this import
        metadata = import_module("importlib.metadata")
    try:
        found: str = metadata.version("channels_redis")
    except metadata.PackageNotFoundError:  # an application that was frozen without it
        return ""
    return found


def server_of(hosts: Any) -> Server | None:
    """Return the one Redis that the layer's `hosts` name; None for all that is less plain."""
    if not hosts:
        return Server("localhost", _PORT)
    if not isinstance(hosts, (list, tuple)) or len(hosts) != 1:
        return None
    (host,) = hosts
    if isinstance(host, dict) and host.keys() == {"address"}:
        host = host["address"]
    if isinstance(host, str):
        return _server_at(host)
    if isinstance(host, dict) and host.keys() == {"host", "port"}:
        host = host["host"], host["port"]
    if isinstance(host, (list, tuple)) and list(map(type, host)) == [str, int]:
        return Server(*host)
    return None


def _server_at(address: str) -> Server | None:
    try:
        parts = urlsplit(address)
        port = parts.port or _PORT
    except ValueError:
        return None
    if parts.scheme != "redis" or parts.query or parts.fragment:
        return None
    user, password = (unquote(part or "") for part in (parts.username, parts.password))
    if user and not password:
        return None
    login = tuple(part for part in (user, password) if part)
    return Server(unquote(parts.hostname or "localhost"), port, login)
