"""
The servers' own objects, for what ASGI lacks: one module for each server.

Each knows its server's send(), also below middleware, and returns a Link to the response.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from types import MethodType
from typing import Any

from eric_sse_django.quiet import Quiet
from eric_sse_django.streaming.servers import daphne, granian, gunicorn, hypercorn, uvicorn
from eric_sse_django.streaming.servers.link import Link, NoServer
from eric_sse_django.streaming.servers.search import among_callers, within

__all__ = ["Link", "link_of"]

logger = logging.getLogger(__name__)
failures = Quiet()

_SERVERS = (daphne, uvicorn, hypercorn, gunicorn, granian)


def link_of(send: Any, receive: Any = None, scope: Any = None) -> tuple[Link, bool]:
    """
    Return the link to a response, and whether send() is the server's own.

    For a send() that is wrapped it is searched for: below the wrapper, below receive(), among
    the callers, in the server's own list. Returns a Link that does nothing if it is not found,
    and if the search fails: others' objects may be anything, and a stream works without it.
    """
    try:
        link = _recognize(send)
        return (link, True) if link is not None else (_searched(send, receive, scope), False)
    except Exception as error:
        if failures.begins(type(error).__name__):
            logger.warning("the server's objects could not be looked for", exc_info=error)
    return Link(), False


def _searched(send: Any, receive: Any, scope: Any) -> Link:
    for roots in ((send,), (receive,), ()):
        found = within(*roots) if roots else within(*among_callers())
        for one in found:
            link = _recognize(one)
            if link is not None and (scope is None or link.belongs_to(scope)):
                return link
    link = daphne.by_scope(scope) if scope is not None else None
    if link is not None:
        return link
    in_test = "asgiref.testing" in sys.modules and any(map(_is_queue, within(send)))
    return NoServer() if in_test else Link()


def _recognize(one: Any) -> Link | None:
    for server in _SERVERS:
        link: Link | None = server.recognize(one)
        if link is not None:
            return link
    return None


def _is_queue(one: Any) -> bool:
    """Return whether it is put() of a queue: of asgiref's ApplicationCommunicator, in tests."""
    owner = one.__self__ if type(one) is MethodType else None
    return issubclass(type(owner), asyncio.Queue) and one.__name__ == "put"
