"""When the server stops, end its streams and send their clients the delay to reconnect after."""

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

# Seconds the server's own handler waits for streams to end: slightly more than the timeout of
# their last write. Then seconds for their last bytes to leave: Twisted writes them in its next
# turn, and Daphne's handler stops before it.
STREAMS_END_S = 3.5
BYTES_LEAVE_S = 0.1
# Seconds between two checks whether streams have ended.
ENDED_CHECK_S = 0.02
# Seconds between two checks whether the server stops without a signal.
STOP_CHECK_S = 0.25
# Seconds after which a server object that was not found is searched for again: on uvicorn that
# searches all tasks of the loop, too much for each stream that opens.
SEARCH_AGAIN_S = 600.0

# Returns true once the server stops.
Stopping = Callable[[], bool]

_installed = False
# Loops whose server is checked, while they have streams.
_watched: set[asyncio.AbstractEventLoop] = set()
# Loops whose server was not found: the time.monotonic() of the next search.
_search_at: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()


def drain() -> None:
    """End all streams of this process, each with its own `retry:`. Returns at once."""
    for hub in all_hubs():
        hub.drain()


def install() -> None:
    """
    Handle SIGTERM and SIGINT: drain first, then call the server's own handler.

    Call it on the server's loop. It acts once in a process, and only on its main thread:
    elsewhere (runserver's autoreload) Python cannot set signal handlers.
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
    End the streams of the running loop once its server stops without a signal.

    A worker that recycles itself (--limit-max-requests, --max-requests) refuses connections and
    waits for open ones: for a stream, up to MAX_STREAM_AGE_S. `find` returns the function that
    is called every STOP_CHECK_S, None if the server has none; it is called once for all streams.
    """
    loop = asyncio.get_running_loop()
    if loop in _watched:
        return
    now = time.monotonic()
    if now < _search_at.get(loop, 0.0) or not conf.get("HANDLE_SIGNALS"):
        return
    stopping = find()
    if stopping is None:
        _search_at[loop] = now + SEARCH_AGAIN_S
        return
    _watched.add(loop)
    loop.call_later(STOP_CHECK_S, _check_server, loop, stopping)


def _check_server(loop: asyncio.AbstractEventLoop, stopping: Stopping) -> None:
    hubs = [hub for hub in all_hubs() if hub.loop is loop]
    if stopping():
        left = [hub for hub in hubs if not hub.draining]  # a signal has drained the others
        if left:
            logger.info("the server stops without a signal, its streams end")
        for hub in left:
            hub.drain()
    elif hubs:
        loop.call_later(STOP_CHECK_S, _check_server, loop, stopping)
        return
    _watched.discard(loop)


def _chain(number: signal.Signals, loop: asyncio.AbstractEventLoop) -> None:
    before: Any = signal.getsignal(number)
    if before is None:
        return  # not set from Python: it cannot be called from here
    was_received = False

    def call_before(received: int, frame: FrameType | None) -> None:
        if callable(before):
            before(received, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def handle(received: int, frame: FrameType | None) -> None:
        nonlocal was_received
        drain()
        if was_received or not _has_streams():
            call_before(received, frame)
            return
        was_received = True
        deadline = time.monotonic() + STREAMS_END_S
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(
                _when_ended, loop, deadline, lambda: call_before(received, None)
            )
            return
        call_before(received, frame)  # the loop has closed

    signal.signal(number, handle)


def _has_streams() -> bool:
    return any(hub.streams for hub in all_hubs())


def _when_ended(
    loop: asyncio.AbstractEventLoop, deadline: float, callback: Callable[[], None]
) -> None:
    """Call back once all streams have ended, at the deadline at the latest."""
    if _has_streams() and time.monotonic() < deadline:
        loop.call_later(ENDED_CHECK_S, _when_ended, loop, deadline, callback)
    else:
        loop.call_later(BYTES_LEAVE_S, callback)
