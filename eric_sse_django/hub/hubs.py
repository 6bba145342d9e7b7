"""This process's hubs, by their event loops."""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
from typing import TYPE_CHECKING

from eric_sse_django import conf

if TYPE_CHECKING:
    from eric_sse_django.hub.hub import Hub

# Not weak: a hub refers to its loop, so a WeakKeyDictionary would never release it.
_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
_is_frozen = False


def of(loop: asyncio.AbstractEventLoop) -> Hub | None:
    """Return a loop's hub, None where none was started."""
    return _hubs.get(loop)


def add(loop: asyncio.AbstractEventLoop, hub: Hub) -> None:
    """Add a loop's hub; abandon those whose loops have closed."""
    freeze_once()
    for other, its_hub in tuple(_hubs.items()):
        if other.is_closed():
            its_hub.abandon(0)
    _hubs[loop] = hub


def discard(loop: asyncio.AbstractEventLoop) -> None:
    """Remove a loop's hub; it may be removed twice."""
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


def freeze_once() -> None:
    """
    Exclude what the process has in memory now from later garbage collections, at the first call.

    Django and a project's modules are 250,000 objects that stay to the end. Each full
    collection visited all of them: 80 ms without a delivery, every ten seconds or so with
    1,000 streams. Takes about as long itself. Nothing where GC_FREEZE or the collector is off.
    """
    global _is_frozen
    if not _is_frozen and gc.isenabled() and conf.get("GC_FREEZE"):
        _is_frozen = True
        gc.collect()  # what is garbage now would stay otherwise
        gc.freeze()


os.register_at_fork(after_in_child=_hubs.clear)
# Daphne, hypercorn and granian end so; uvicorn by the signal itself, after streams have ended.
atexit.register(abandon_all)
