"""An event loop for a thread to run coroutines on, also if gevent has patched threads."""

from __future__ import annotations

import asyncio
import logging
import selectors
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

_is_logged = False


class Runner:
    """Runs coroutines on its own loop, on the calling thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the coroutine's result; raise what it raises."""
        return self._loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()


class GeventRunner(Runner):
    """
    Runs coroutines on one native thread; only the calling greenlet waits.

    All greenlets share one thread: while a loop runs on it, Django refuses all their queries.
    """

    def __init__(self) -> None:
        self._pool = import_module("gevent.threadpool").ThreadPool(1)
        self._loop = self._pool.apply(_native_loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        found: T = self._pool.apply(self._loop.run_until_complete, (coroutine,))
        return found

    def close(self) -> None:
        self._pool.apply(self._loop.close)
        self._pool.kill()


def _native_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that does not call gevent: its functions would switch greenlets."""
    get_original = import_module("gevent.monkey").get_original

    class Selector(selectors.PollSelector):
        _selector_cls = get_original("select", "poll")

    class Loop(asyncio.SelectorEventLoop):
        async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
            return get_original("socket", "getaddrinfo")(*args, **options)

    return Loop(Selector())


def make_runner() -> Runner | None:
    """Return a new runner, None if this process can have none; that is logged once."""
    if _is_patched("gevent.monkey", "is_module_patched", "threading"):
        return GeventRunner()
    if _is_patched("eventlet.patcher", "is_monkey_patched", "thread"):
        _warn_once()
        return None
    return Runner()


def _is_patched(module: str, function: str, what: str) -> bool:
    patcher = sys.modules.get(module)
    is_patched: Callable[[str], object] | None = getattr(patcher, function, None)
    return is_patched is not None and bool(is_patched(what))


def _warn_once() -> None:
    global _is_logged
    if not _is_logged:
        _is_logged = True
        logger.warning(
            "threads are greenlets of eventlet: wakes are not sent, other processes poll"
        )
