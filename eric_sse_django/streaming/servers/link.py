"""What a server's own objects do for one response, and ASGI cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any, ClassVar

# What a server may lack, as the log and docs/deployment.md name it.
BACK_PRESSURE = "back-pressure"
CUT = "cut"
DARK_LINKS = "dark links"
RECYCLING = "recycling"
GUARDS = (BACK_PRESSURE, CUT, DARK_LINKS, RECYCLING)


class Link:
    """
    One response of a server. This one does nothing.

    Private objects of each server are used only in its own module.
    """

    __slots__ = ()

    # The server and its protocol, for the log; "" where there is none to name.
    server: ClassVar[str] = "an unknown server"
    # The guards above that it never has.
    lacks: ClassVar[tuple[str, ...]] = GUARDS
    # Why it lacks them.
    why: ClassVar[str] = "its send() was not found below the middleware that wraps it"
    # Whether to call begin(), and full() after each chunk: send() does not wait for the client.
    is_gated: ClassVar[bool] = False

    def begin(self) -> None:
        """Note that the response's first bytes are sent."""

    def full(self) -> Awaitable[None] | None:
        """Return what to wait for before the next chunk, None where it may come now."""
        return None

    def write(self, chunk: bytes) -> bool | None:
        """
        Send a chunk without waiting, in any task, and return True.

        False, and nothing sent, if it had to wait; None if it can never do so.
        """
        return None

    def cut(self) -> None:
        """End the response without what its client did not read, and without its end."""

    def release(self) -> None:
        """Release what begin() took. May be called twice."""

    def missing(self) -> set[str]:
        """
        Return the guards that it lacks, also because an object was not found.

        Call it after begin(), once for each server: it may visit all tasks.
        """
        return set(self.lacks)

    def connection(self) -> Any:
        """Return the transport of its connection (asyncio's, Twisted's), None if unknown."""
        return None

    def belongs_to(self, scope: Any) -> bool:
        """Return whether it is the response to the request of a scope."""
        return True

    def stopping(self) -> Callable[[], bool] | None:
        """Return a function that returns whether the server stops by itself; None if unknown."""
        return None


class NoServer(Link):
    """An application that a test calls, or a part of the project: it reads what it is sent."""

    __slots__ = ()

    server = ""
    lacks = ()


def is_of(scope: Any, headers: Any, client: Any = None) -> bool:
    """
    Return whether headers, and the client's address, are those of a scope.

    A middleware copies the scope, but not its lists. One that changes the client (for a
    proxy's header) does not change the headers.
    """
    if headers is scope["headers"]:
        return True
    same_client = client is not None and tuple(client) == tuple(scope.get("client") or ())
    return same_client and list(headers) == list(scope["headers"])


def closure(function: FunctionType) -> dict[str, Any]:
    """Return the variables of a function's closure by their names."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    return found
