"""What a project configures for NATS, and what this app writes and reads on a connection."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from eric_sse_django.wakes.fabric import MALFORMED, Parcel
from eric_sse_django.wakes.layer import LAYER_TIMEOUT_S

PORT = 4222
CLIENT_NAME = "eric_sse_django"
# Seconds for connecting to one server, and to any of them.
CONNECT_S = LAYER_TIMEOUT_S
JOIN_S = 5.0
# Seconds for which a carrier trusts its connection: only the answer to a ping shows that it works.
TRUST_S = 1.0
# Seconds without a send after which a carrier connects again: a server closes what answers no
# pings.
IDLE_S = 30.0
# Bytes of a message that are parsed at most: this app sends a quarter of it at most. And of
# what a server sends to a publisher between two messages.
MAX_BYTES = 262_144
# The options of encryption.
TLS_OPTIONS = ("tls", "tls_hostname", "tls_handshake_first")
UNENCRYPTED = "the server does not encrypt, and its address is tls://, or OPTIONS have 'tls'"
# What FABRIC["OPTIONS"] may have beside "namespace"; with anything else (keys, credentials,
# callbacks) nats-py connects.
KNOWN = frozenset(("name", "user", "password", "token", *TLS_OPTIONS))


class Site(NamedTuple):
    """The servers of a project, the options of its connections, and its part of all subjects."""

    servers: list[str]
    options: Mapping[str, Any]
    namespace: str

    def shuffled(self) -> list[str]:
        """Return the servers in a random order."""
        return random.sample(self.servers, len(self.servers))

    def subject(self, name: int | str) -> str:
        """Return the subject of a channel's key, or of another name."""
        return f"{self.namespace}.{name}"

    def subject_of(self, channel: int | None) -> str:
        """Return the subject of a parcel."""
        return self.subject("all" if channel is None else channel)

    def is_plain(self) -> bool:
        """Return whether this app connects itself, without nats-py."""
        return is_plain(self.options)


def is_plain(options: Mapping[str, Any]) -> bool:
    """Return whether a login is all by which a client identifies itself."""
    login = (options.get(name) or "" for name in ("user", "password", "token"))
    is_known = options.keys() <= KNOWN | {"namespace"}
    return is_known and all(isinstance(part, str) for part in login)


class ServerAddress(NamedTuple):
    """Where a server is, and the login in its URL."""

    host: str
    port: int
    is_encrypted: bool
    user: str | None
    password: str | None

    @staticmethod
    def of(url: str) -> ServerAddress:
        parts = urlsplit(url)
        is_encrypted = parts.scheme == "tls"
        login = parts.username, parts.password
        return ServerAddress(parts.hostname or "", parts.port or PORT, is_encrypted, *login)

    def tls(self, options: Mapping[str, Any]) -> tuple[ssl.SSLContext, str]:
        """Return the context, and the name that the certificate must have."""
        context = options.get("tls") or ssl.create_default_context()
        return context, options.get("tls_hostname") or self.host

    def must_encrypt(self, greeting: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
        """Return whether the server asks for encryption; raise if only the project does."""
        if greeting.get("tls_required"):
            return True
        if self.wants_encryption(options):
            raise ConnectionError(UNENCRYPTED)
        return False

    def wants_encryption(self, options: Mapping[str, Any]) -> bool:
        """Return whether the project does: by the address, or by what OPTIONS have for TLS."""
        return self.is_encrypted or any(options.get(name) for name in TLS_OPTIONS)

    def connect_line(self, options: Mapping[str, Any]) -> bytes:
        """Return the command by which a client identifies itself, as nats-py does."""
        found: dict[str, Any] = {"verbose": False, "pedantic": False, "protocol": 1}
        found |= {"lang": "python3", "name": options.get("name") or CLIENT_NAME}
        return b"CONNECT %s\r\n" % json.dumps(found | self._login(options)).encode()

    def _login(self, options: Mapping[str, Any]) -> dict[str, str]:
        user, password, token = (options.get(name) for name in ("user", "password", "token"))
        if user and password:
            return {"user": user, "pass": password}
        if token:
            return {"auth_token": token}
        if self.user is not None and self.password is None:
            return {"auth_token": self.user}
        if self.user is not None and self.password is not None:
            return {"user": self.user, "pass": self.password}
        return {}


def greeting_of(line: bytes) -> dict[str, Any]:
    """Return what a server sends first; raise ConnectionError if it is not a NATS server."""
    try:
        found = json.loads(line.removeprefix(b"INFO "))
        return {**found, "max_payload": int(found["max_payload"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConnectionError("the server is no NATS") from error


def error_of(line: bytes) -> ConnectionError:
    """Return the error that a line of the server reports."""
    return ConnectionError(line.removeprefix(b"-ERR").decode(errors="replace").strip(" '"))


def encoded(parcel: Parcel) -> bytes:
    """Return the bytes of a parcel's message."""
    return json.dumps(dict(parcel.message), separators=(",", ":")).encode()


def decoded(data: bytes) -> Mapping[str, Any]:
    """Return the message that was received; MALFORMED where it is none."""
    try:
        message = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        return MALFORMED
    return message if isinstance(message, dict) else MALFORMED
