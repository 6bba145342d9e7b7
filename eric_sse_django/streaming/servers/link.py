"""What a server's own objects do for one response, where ASGI has no word for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

# What a server may lack, as the log and docs/deployment.md name it.
BACK_PRESSURE = "back-pressure"
CUT = "cut"
DARK_LINKS = "dark links"
RECYCLING = "recycling"
GUARDS = (BACK_PRESSURE, CUT, DARK_LINKS, RECYCLING)


class Link:
    """
    One response of a server. This one knows nothing, and does nothing.

    Private objects of each server are used in its own module alone.
    """

    __slots__ = ()

    # The server and its protocol, for the log; "" where there is none to name.
    server: ClassVar[str] = "an unknown server"
    # What is never done on it, of the four above.
    lacks: ClassVar[tuple[str, ...]] = GUARDS
    # Why it is not done.
    why: ClassVar[str] = "its send() was not found below the middleware that wraps it"
    # Whether full() is to be asked after each chunk: send() does not wait for the client.
    is_gated: ClassVar[bool] = False

    def begin(self) -> None:
        """Note that the response's first bytes are sent."""

    def full(self) -> Awaitable[None] | None:
        """Return what to wait for before the next chunk, None where it may come now."""
        return None

    def write(self, chunk: bytes) -> bool | None:
        """
        Send a chunk without waiting, in whatever task, and return True.

        False, and nothing sent, where it had to wait; None where it is never so.
        """
        return None

    def cut(self) -> None:
        """End the response without what its client did not read, and without its end."""

    def release(self) -> None:
        """Let go of what begin() took. May be called twice."""

    def missing(self) -> set[str]:
        """
        Return what is not done for it: also where an object is not found that was looked for.

        To be called after begin(), once for each server: it may look at all tasks.
        """
        return set(self.lacks)

    def connection(self) -> Any:
        """Return the transport of its connection (asyncio's, Twisted's), None if unknown."""
        return None

    def belongs_to(self, scope: Any) -> bool:
        """Whether it is the response to the request of a scope."""
        return True

    def stopping(self) -> Callable[[], bool] | None:
        """Return what tells whether the server stops by itself; None where nothing does."""
        return None


class NoServer(Link):
    """An application that a test calls, or a part of the project: it reads what it is sent."""

    __slots__ = ()

    server = ""
    lacks = ()


def is_of(scope: Any, headers: Any, client: Any = None) -> bool:
    """
    Whether headers, and the client's address, are those of a scope.

    A middleware copies the scope, but hands on its lists. One that changes the client (for a
    proxy's header) leaves the headers as they are.
    """
    if headers is scope["headers"]:
        return True
    same_client = client is not None and tuple(client) == tuple(scope.get("client") or ())
    return same_client and list(headers) == list(scope["headers"])
