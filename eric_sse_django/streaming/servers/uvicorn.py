"""
uvicorn with h11 or httptools, on asyncio or uvloop, alone or as gunicorn's worker.

Private: the `send`, `receive`, `scope` and `transport` of its RequestResponseCycle; the Server in
the frames of its task, with `should_exit` and `servers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

from eric_sse_django.streaming.servers.link import CUT, RECYCLING, Link, is_of


def recognize(one: Any) -> Link | None:
    """Return the link of a response whose send() or receive() this is."""
    cycle = one.__self__ if type(one) is MethodType else None
    if type(cycle).__module__.partition(".")[0] == "uvicorn" and hasattr(cycle, "transport"):
        return UvicornLink(cycle)
    return None


class UvicornLink(Link):
    """A response. send() waits for the client before it writes, not after."""

    __slots__ = ("_cycle", "_send")

    server = "uvicorn"
    lacks = ()

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._send = cycle.send

    def write(self, chunk: bytes) -> bool:
        sending = self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        try:
            sending.send(None)
        except StopIteration:
            return True
        sending.close()
        return False

    def cut(self) -> None:
        self._cycle.transport.abort()

    def missing(self) -> set[str]:
        found = {
            CUT: hasattr(self._cycle.transport, "abort"),
            RECYCLING: self.stopping() is not None,
        }
        return {guard for guard, is_found in found.items() if not is_found}

    def connection(self) -> Any:
        return self._cycle.transport

    def belongs_to(self, scope: Any) -> bool:
        mine = self._cycle.scope
        return is_of(scope, mine["headers"], mine.get("client"))

    def stopping(self) -> Callable[[], bool] | None:
        """After --limit-max-requests it closes its listening sockets, and waits for streams."""
        server = next(_servers(), None)
        return None if server is None else lambda: _is_stopping(server)


def _is_stopping(server: Any) -> bool:
    listening = getattr(server, "servers", ())
    return bool(server.should_exit) or not all(one.is_serving() for one in listening)


def _servers() -> Iterator[Any]:
    """Yield the servers of this loop, out of the frames of the tasks that run them."""
    for task in asyncio.all_tasks():
        waiting: Any = task.get_coro()
        while (frame := getattr(waiting, "cr_frame", None)) is not None:
            owner = frame.f_locals.get("self") if "self" in frame.f_code.co_varnames else None
            # Also one of a class that a project has made of it.
            modules = {kind.__module__ for kind in type(owner).__mro__}
            if "uvicorn.server" in modules and hasattr(owner, "should_exit"):
                yield owner
            waiting = waiting.cr_await
