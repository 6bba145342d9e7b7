"""One POST request: to a checked address, within one deadline, without following redirects."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from typing import NamedTuple

from eric_sse_django import __version__
from eric_sse_django.contrib.webhooks.addresses import Refused, Target, places_of, target_of

USER_AGENT = f"eric-sse-django/{__version__}"
GONE = 410
# Statuses whose Retry-After is waited for.
BUSY = (429, 503)


class Answer(NamedTuple):
    """
    What became of a request: its status, None without one; an error if it was not accepted.

    The error is for people, and may contain anything that a receiver sent: see shown_error().
    """

    status: int | None
    error: str
    retry_after_s: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has it: any 2xx."""
        return not self.error

    def shown_error(self) -> str:
        """Return the error as every database stores it, and a terminal shows it."""
        return "".join(each if each.isprintable() else "\ufffd" for each in self.error)

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more messages."""
        return self.status == GONE


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
    """
    Send a request and return what became of it; raises nothing for what a receiver can cause.

    `timeout_s` is for connecting, sending and the answer's headers together. Its body is not read.
    """
    until = time.monotonic() + timeout_s
    try:
        target = target_of(url)
        connection = _Connection(target, until)
    except Refused as refused:
        return Answer(None, str(refused))
    deadline = threading.Timer(timeout_s, connection.cut)
    deadline.daemon = True
    deadline.start()
    try:
        connection.request("POST", target.path, body, {"User-Agent": USER_AGENT, **headers})
        answer = _answer(connection.getresponse())
        # What was cut within its headers is read as if it had ended there.
        return _late(timeout_s) if connection.was_cut else answer
    except Refused as refused:
        return Answer(None, str(refused))
    except Exception as error:  # noqa: BLE001 - a receiver, or the deadline, can cause many kinds
        if connection.was_cut or time.monotonic() >= until:
            return _late(timeout_s)
        return Answer(None, f"{type(error).__name__}: {error}")
    finally:
        deadline.cancel()
        connection.close()


def _late(timeout_s: float) -> Answer:
    return Answer(None, f"no answer within {timeout_s:g} s")


def _answer(response: http.client.HTTPResponse) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(status, "")
    if 300 <= status < 400:
        return Answer(status, f"{status}: a redirect, which is not followed: change the URL")
    after = response.getheader("Retry-After") if status in BUSY else None
    return Answer(status, f"{status} {response.reason}".strip(), _seconds(after))


def _seconds(after: str | None) -> float:
    """Return the seconds of a Retry-After, 0 without a valid one."""
    if after is None:
        return 0.0
    if after.isascii() and after.isdigit():
        return float(after[:10])
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Connection(http.client.HTTPConnection):
    """A connection to one of the checked addresses of a target, until a time.monotonic()."""

    def __init__(self, target: Target, until: float) -> None:
        super().__init__(target.host, target.port, timeout=max(0.01, until - time.monotonic()))
        self.default_port = 443 if target.scheme == "https" else 80
        self._target, self._until = target, until
        self._raw: socket.socket | None = None
        self.was_cut = False

    def connect(self) -> None:
        """Connect to the first address that answers."""
        failed: OSError | None = None
        for family, address in places_of(self._target):
            self._raw = socket.socket(family, socket.SOCK_STREAM)
            self._raw.settimeout(max(0.01, self._until - time.monotonic()))
            try:
                self._raw.connect(address)
            except OSError as error:
                self._raw.close()
                failed = error
                continue
            self.sock = self._raw
            if self._target.scheme == "https":
                self.sock = _tls().wrap_socket(self._raw, server_hostname=self._target.host)
            return
        raise failed or OSError("the host has no address")

    def cut(self) -> None:
        """End what the socket waits for, from another thread."""
        self.was_cut = True
        for each in (self.sock, self._raw):
            if each is not None:
                with contextlib.suppress(Exception):  # it is closed already
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
