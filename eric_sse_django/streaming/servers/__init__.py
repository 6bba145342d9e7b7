"""
The servers' own objects, for what ASGI lacks: one module for each server.

Each knows its server's send(), also below middleware, and returns a Link to the response.
"""

from __future__ import annotations

import asyncio
import sys
from types import MethodType
from typing import Any

from eric_sse_django.streaming.servers import daphne, granian, gunicorn, hypercorn, uvicorn
from eric_sse_django.streaming.servers.link import Link, NoServer
from eric_sse_django.streaming.servers.search import among_callers, within

__all__ = ["Link", "link_of"]

_SERVERS = (daphne, uvicorn, hypercorn, gunicorn, granian)


def link_of(send: Any, receive: Any = None, scope: Any = None) -> tuple[Link, bool]:
    """
    Return the link to a response, and whether send() is the server's own.

    For a send() that is wrapped it is looked for: below the wrapper, below receive(), among the
    callers, in the server's own list. A Link that does nothing where that is in vain.
    """
    link = _recognize(send)
    if link is not None:
        return link, True
    for roots in ((send,), (receive,), ()):
        found = within(*roots) if roots else within(*among_callers())
        for one in found:
            link = _recognize(one)
            if link is not None and (scope is None or link.belongs_to(scope)):
                return link, False
    link = daphne.by_scope(scope) if scope is not None else None
    if link is None:
        in_test = "asgiref.testing" in sys.modules and any(map(_is_queue, within(send)))
        link = NoServer() if in_test else Link()
    return link, False


def _recognize(one: Any) -> Link | None:
    for server in _SERVERS:
        link: Link | None = server.recognize(one)
        if link is not None:
            return link
    return None


def _is_queue(one: Any) -> bool:
    """Whether it is put() of a queue: of asgiref's ApplicationCommunicator, in tests."""
    owner = one.__self__ if type(one) is MethodType else None
    return issubclass(type(owner), asyncio.Queue) and one.__name__ == "put"
