"""This process's hubs, by their event loops."""

from __future__ import annotations

import asyncio
import atexit
import os
from typing import TYPE_CHECKING

from eric_sse_django.hub import heap

if TYPE_CHECKING:
    from eric_sse_django.hub.hub import Hub

# Not weak: a hub refers to its loop, so a WeakKeyDictionary would never let go of it.
_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def of(loop: asyncio.AbstractEventLoop) -> Hub | None:
    """Return a loop's hub, None where none was started."""
    return _hubs.get(loop)


def add(loop: asyncio.AbstractEventLoop, hub: Hub) -> None:
    """Add a loop's hub; let go of those whose loops have closed."""
    heap.freeze_once()
    for other, its_hub in tuple(_hubs.items()):
        if other.is_closed():
            its_hub.abandon(0)
    _hubs[loop] = hub


def discard(loop: asyncio.AbstractEventLoop) -> None:
    """Have nobody find a loop's hub again."""
    _hubs.pop(loop, None)


def all_hubs() -> list[Hub]:
    """Return the hubs of this process's loops."""
    return list(_hubs.values())


def running_hubs() -> list[Hub]:
    """Return those whose loops have not closed."""
    return [hub for loop, hub in tuple(_hubs.items()) if not loop.is_closed()]


def abandon_all() -> None:
    """Close this process's hubs, whose loops will not run again; waits 2 s for each at most."""
    for hub in all_hubs():
        hub.abandon()


os.register_at_fork(after_in_child=_hubs.clear)
# Daphne, hypercorn and granian end so; uvicorn by the signal itself, after streams have ended.
atexit.register(abandon_all)
