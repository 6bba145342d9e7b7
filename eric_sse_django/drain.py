"""A server that stops tells its clients when to come back."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

from eric_sse_django import conf
from eric_sse_django.hub import all_hubs

logger = logging.getLogger(__name__)

_installed = False


def drain() -> None:
    """End all streams of this process, each with a `retry:` of its own. Returns at once."""
    for hub in all_hubs():
        hub.drain()


def install() -> None:
    """
    Have SIGTERM and SIGINT drain before the server's own handler runs.

    Once in a process, and only from its main thread: elsewhere (runserver's
    autoreload) Python has no signal handlers. Chained, not replaced: what the server
    had set is called after ours.
    """
    global _installed
    if _installed or threading.current_thread() is not threading.main_thread():
        return
    _installed = True
    if conf.get("HANDLE_SIGNALS"):
        for number in (signal.SIGTERM, signal.SIGINT):
            _chain(number)


def _chain(number: signal.Signals) -> None:
    before: Any = signal.getsignal(number)
    if before is None:
        return  # not set from Python: it could not be called from ours

    def handle(received: int, frame: FrameType | None) -> None:
        drain()
        if callable(before):
            before(received, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(number, handle)
