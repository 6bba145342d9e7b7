"""A server that stops, by a signal or by itself, tells its clients when to reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from eric_sse_django import conf
from eric_sse_django.hub import all_hubs

logger = logging.getLogger(__name__)

# Seconds the server's own handler waits for streams to end: a little more than they get for
# their last write. And for their last bytes to leave: Twisted keeps them until its next turn,
# and Daphne's handler leaves it none.
STREAMS_END_S = 3.5
BYTES_LEAVE_S = 0.1
# Seconds between two looks whether the server stops by itself.
LOOK_S = 0.25
# Seconds after which a server that was not found is looked for again: on uvicorn among all the
# tasks of the loop, so not for each stream that is opened.
AGAIN_S = 600.0

# Returns whether the server stops.
Stopping = Callable[[], bool]

_installed = False
# Loops whose server is looked at, while they have streams.
_watched: set[asyncio.AbstractEventLoop] = set()
# The time.monotonic() until which no server is looked for, where there was none.
_in_vain: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()


def drain() -> None:
    """End all streams of this process, each with a `retry:` of its own. Returns at once."""
    for hub in all_hubs():
        hub.drain()


def install() -> None:
    """
    Have SIGTERM and SIGINT drain before the server's own handler runs.

    To be called on the server's loop. Once in a process, and only from its main thread:
    elsewhere (runserver's autoreload) Python has no signal handlers. Chained, not replaced:
    what the server had set is called after ours.
    """
    global _installed
    if _installed or threading.current_thread() is not threading.main_thread():
        return
    _installed = True
    if conf.get("HANDLE_SIGNALS"):
        for number in (signal.SIGTERM, signal.SIGINT):
            _chain(number, asyncio.get_running_loop())


def watch(find: Callable[[], Stopping | None]) -> None:
    """
    Have the streams of the running loop end once its server stops without a signal.

    A worker that recycles itself (--limit-max-requests, --max-requests) refuses connections,
    and waits for the open ones: for a stream until its age. `find` is called once for all the
    streams that are open; it returns what tells whether the server stops, None if nothing does.
    """
    loop = asyncio.get_running_loop()
    now = time.monotonic()
    if loop in _watched or now < _in_vain.get(loop, 0.0) or not conf.get("HANDLE_SIGNALS"):
        return
    stopping = find()
    if stopping is None:
        _in_vain[loop] = now + AGAIN_S
        return
    _watched.add(loop)
    loop.call_later(LOOK_S, _look, loop, stopping)


def _look(loop: asyncio.AbstractEventLoop, stopping: Stopping) -> None:
    hubs = [hub for hub in all_hubs() if hub.loop is loop]
    if stopping():
        logger.info("the server stops by itself, its streams end")
        for hub in hubs:
            hub.drain()
    elif hubs:
        loop.call_later(LOOK_S, _look, loop, stopping)
        return
    _watched.discard(loop)


def _chain(number: signal.Signals, loop: asyncio.AbstractEventLoop) -> None:
    before: Any = signal.getsignal(number)
    if before is None:
        return  # not set from Python: it could not be called from ours
    came_before = False

    def go_on(received: int, frame: FrameType | None) -> None:
        if callable(before):
            before(received, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def handle(received: int, frame: FrameType | None) -> None:
        nonlocal came_before
        drain()
        if came_before or not _streams():
            go_on(received, frame)
            return
        came_before = True
        gives_up_at = time.monotonic() + STREAMS_END_S
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(
                _when_ended, loop, gives_up_at, lambda: go_on(received, None)
            )
            return
        go_on(received, frame)  # the loop has closed

    signal.signal(number, handle)


def _streams() -> bool:
    return any(hub.streams for hub in all_hubs())


def _when_ended(
    loop: asyncio.AbstractEventLoop, gives_up_at: float, go_on: Callable[[], None]
) -> None:
    if _streams() and time.monotonic() < gives_up_at:
        loop.call_later(0.02, _when_ended, loop, gives_up_at, go_on)
    else:
        loop.call_later(BYTES_LEAVE_S, go_on)
