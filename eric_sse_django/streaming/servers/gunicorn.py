"""
gunicorn's own ASGI worker, `-k asgi`, over HTTP/1.1 and HTTP/2.

Private: the variables of send() and receive() in gunicorn.asgi.protocol.ASGIProtocol, which are
functions within its methods: the protocol with its `transport` and `worker`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from eric_sse_django.streaming.servers.link import RECYCLING, Link, closure, is_of


def recognize(one: Any) -> Link | None:
    """Return the link of a response whose send() or receive() this is."""
    if type(one) is MethodType and type(one.__self__).__module__ == "gunicorn.asgi.protocol":
        # receive() over HTTP/1.1
        owner = one.__self__
        names = {"self": "protocol", "request": "request"}
        variables = {name: getattr(owner, of_it, None) for name, of_it in names.items()}
    elif type(one) is FunctionType and one.__module__ == "gunicorn.asgi.protocol":
        variables = closure(one)
    else:
        return None
    protocol, request = variables.get("self"), variables.get("request")
    if not hasattr(protocol, "transport"):
        return None
    kind = HTTP2Link if "h2_conn" in variables else GunicornLink
    return kind(protocol, request)


class GunicornLink(Link):
    """A response over HTTP/1.1. send() writes, and then waits for the client."""

    __slots__ = ("_protocol", "_request")

    server = "gunicorn's ASGI worker"
    lacks = ()

    def __init__(self, protocol: Any, request: Any) -> None:
        self._protocol = protocol
        self._request = request

    def cut(self) -> None:
        if self._protocol.transport is not None:
            self._protocol.transport.abort()

    def connection(self) -> Any:
        return self._protocol.transport

    def missing(self) -> set[str]:
        worker = getattr(self._protocol, "worker", None)
        return set() if hasattr(worker, "alive") else {RECYCLING}

    def stopping(self) -> Callable[[], bool] | None:
        """After --max-requests it waits for its streams, as after a signal."""
        worker: Any = getattr(self._protocol, "worker", None)
        return (lambda: not worker.alive) if hasattr(worker, "alive") else None

    def belongs_to(self, scope: Any) -> bool:
        headers = getattr(self._request, "headers_bytes", None)
        peer = self._protocol.transport and self._protocol.transport.get_extra_info("peername")
        return headers is None or is_of(scope, headers, peer and peer[:2])


class HTTP2Link(GunicornLink):
    """A stream of an HTTP/2 connection: gunicorn resets one whose application ends before it."""

    __slots__ = ()

    server = "gunicorn's ASGI worker (HTTP/2)"

    def cut(self) -> None:
        """Do nothing: the application's return is enough."""
