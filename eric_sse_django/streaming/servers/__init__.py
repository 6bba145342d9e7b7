"""
The servers' own objects, for what ASGI lacks: one module for each server.

Each recognizes its server's send(), and returns a Link to the response. Here it is searched for,
below the middleware that wraps it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType

from eric_sse_django.outage import Quiet
from eric_sse_django.streaming.servers import daphne, granian, gunicorn, hypercorn, uvicorn
from eric_sse_django.streaming.servers.link import Link, NoServer, closure

__all__ = ["Link", "link_of"]

logger = logging.getLogger(__name__)
failures = Quiet()

# Objects that are visited for one stream: 0.3 ms. A wrapper that is a closure takes two.
MAX_OBJECTS = 1_000
# Items of one list, tuple or dict that are visited.
MAX_ITEMS = 50
# Callers that are visited.
MAX_FRAMES = 100
_SEVERAL: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
_OPAQUE = (str, bytes, bytearray, int, float, complex, type, ModuleType)

_SERVERS = (uvicorn, daphne, hypercorn, gunicorn, granian)


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
            logger.warning("the search for the server's objects failed", exc_info=error)
    return Link(), False


def _searched(send: Any, receive: Any, scope: Any) -> Link:
    may_be_test = "asgiref.testing" in sys.modules
    for roots in ((send,), (receive,), ()):
        found = within(*roots) if roots else within(*among_callers())
        for one in found:
            link = _recognize(one)
            if link is not None and (scope is None or link.belongs_to(scope)):
                return link
            if may_be_test and roots and roots[0] is send and _is_queue(one):
                return NoServer()  # without the search of 3,000 objects for what is not there
    link = daphne.by_scope(scope) if scope is not None else None
    return Link() if link is None else link


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


# The search -----------------------------------------------------------------------------


def within(*roots: Any) -> Iterator[Any]:
    """
    Yield what can be reached from callables, these first: what is called before what is kept.

    A wrapper has what it calls in its closure, its attributes, its arguments, or as
    `__wrapped__`. Runs no code of these objects except a proxy's `__wrapped__`: it uses type(),
    for isinstance() makes a lazy object (scope["user"]) evaluate itself.
    """
    called, kept = deque(roots), deque[Any]()
    seen: set[int] = set()
    while (called or kept) and len(seen) < MAX_OBJECTS:
        one = called.popleft() if called else kept.popleft()
        if id(one) in seen or one is None or issubclass(type(one), _OPAQUE):
            continue
        seen.add(id(one))  # the roots keep it: its id is not given again
        yield one
        with suppress(Exception):  # others' containers may change meanwhile, or be odd
            for inner in _inside(one):
                (called if callable(inner) else kept).append(inner)


def _inside(one: Any) -> Iterable[Any]:
    kind = type(one)
    if kind is MethodType:
        return (one.__func__, one.__self__)
    if issubclass(kind, partial):
        return (one.func, *one.args, *one.keywords.values())
    if kind is FunctionType:
        return [*closure(one).values(), *vars(one).values()]
    if issubclass(kind, ReferenceType):
        return (one(),)
    if issubclass(kind, dict):
        return list(islice(dict.values(one), MAX_ITEMS))
    for several in _SEVERAL:
        if issubclass(kind, several):
            return list(islice(several.__iter__(one), MAX_ITEMS))
    return _attributes(one)


def _attributes(one: Any) -> list[Any]:
    """Return what an object has in its __dict__ and its slots, and what a proxy stands for."""
    found: list[Any] = []
    with suppress(AttributeError, TypeError):  # it has slots alone
        found += list(object.__getattribute__(one, "__dict__").values())[:MAX_ITEMS]
    known = [vars(kind) for kind in type(one).__mro__]
    for slots in (each.get("__slots__", ()) for each in known):
        for name in (slots,) if isinstance(slots, str) else slots:
            first = next((each[name] for each in known if name in each), None)
            if type(first) is MemberDescriptorType:  # no property, which may do anything
                with suppress(AttributeError):  # it has no value yet
                    found.append(object.__getattribute__(one, name))
    if callable(one) and any("__wrapped__" in each for each in known):
        # wrapt's proxies, of which tracers are made, keep it out of both.
        with suppress(Exception):  # others' __getattr__ may raise anything
            found.append(one.__wrapped__)
    return found


def among_callers() -> Iterator[Any]:
    """Yield the `send` and `receive` of the functions that called us, the nearest first."""
    frame: Any = sys._getframe(1)
    for _ in range(MAX_FRAMES):
        frame = frame.f_back
        if frame is None:
            return
        variables = frame.f_code.co_varnames
        for name in ("send", "receive"):
            if name in variables and (found := frame.f_locals.get(name)) is not None:
                yield found
