"""
granian: its send() waits, and a response whose application returns is cut.

Its sockets are Rust's: no option can be set on them. It recycles its workers by a signal.
"""

from __future__ import annotations

from types import BuiltinMethodType
from typing import Any

from eric_sse_django.streaming.servers.link import DARK_LINKS, Link


def recognize(one: Any) -> Link | None:
    """Return the link of a response whose send() this is."""
    owner = one.__self__ if type(one) is BuiltinMethodType else one
    return GranianLink() if type(owner).__module__.partition(".")[0] == "granian" else None


class GranianLink(Link):
    """A response."""

    __slots__ = ()

    server = "granian"
    lacks = (DARK_LINKS,)
    why = "its sockets are not Python's"
