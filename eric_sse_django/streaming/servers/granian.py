"""
granian: its send() waits, and a response whose application returns is cut.

Its sockets are Rust's: no option can be set on them. It recycles its workers by a signal.
"""

from __future__ import annotations

from typing import Any

from eric_sse_django.streaming.servers.link import DARK_LINKS, Link


def recognize(one: Any) -> Link | None:
    """Return the link of a response whose send() this is."""
    owner = getattr(one, "__self__", None)
    names = (type(owner).__module__, type(one).__module__)
    return GranianLink() if any(name.partition(".")[0] == "granian" for name in names) else None


class GranianLink(Link):
    """A response."""

    __slots__ = ()

    server = "granian"
    lacks = (DARK_LINKS,)
    why = "its sockets are not Python's"
