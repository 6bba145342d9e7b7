"""An event loop to run coroutines on, also where gevent makes greenlets of threads."""

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

_is_said = False


class Runner:
    """Runs coroutines on a loop of its own, on the thread that calls."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine does; raises what it raises."""
        return self._loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()


class GeventRunner(Runner):
    """
    Runs them on a native thread, the same one each time; only the calling greenlet waits.

    All greenlets share one thread: with a loop that runs on it, Django refuses all their queries.
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
    """Return a loop that waits and resolves names without gevent, which would switch greenlets."""
    get_original = import_module("gevent.monkey").get_original

    class Selector(selectors.PollSelector):
        _selector_cls = get_original("select", "poll")

    class Loop(asyncio.SelectorEventLoop):
        async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
            return get_original("socket", "getaddrinfo")(*args, **options)

    return Loop(Selector())


def runner() -> Runner | None:
    """Return what runs coroutines in this process, None where nothing can; that is said once."""
    if _is_patched("gevent.monkey", "is_module_patched", "threading"):
        return GeventRunner()
    if _is_patched("eventlet.patcher", "is_monkey_patched", "thread"):
        _say()
        return None
    return Runner()


def _is_patched(module: str, asked: str, what: str) -> bool:
    patcher = sys.modules.get(module)
    is_patched: Callable[[str], object] | None = getattr(patcher, asked, None)
    return is_patched is not None and bool(is_patched(what))


def _say() -> None:
    global _is_said
    if not _is_said:
        _is_said = True
        logger.warning(
            "threads are greenlets of eventlet: wakes are not sent, other processes poll"
        )
