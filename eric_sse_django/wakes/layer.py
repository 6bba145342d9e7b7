"""The project's channel layer: built for one loop, probed, closed; and a loop for a thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from typing import Any, TypeVar

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from eric_sse_django import conf
from eric_sse_django.cancelling import cancel, within

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds for one call of the layer: one that is slower than the poll is of no use.
LAYER_TIMEOUT_S = 1.0
# Seconds for which channels_redis lets Redis hold back the answer to an idle receive. Its
# own 5 s are what redis-py 8 waits for any answer: which came first was chance, and an error.
BLOCK_S = 2
# It has no members: what is sent to it wakes no process.
EMPTY_GROUP = "eric-sse.health"

# Held while the layer's modules are imported (0.2 s, on our threads), and during a fork: in the
# child, an import that another thread had begun would wait for that thread forever.
importing = threading.Lock()
os.register_at_fork(
    before=importing.acquire,
    after_in_parent=importing.release,
    after_in_child=importing.release,
)


def make_layer() -> BaseChannelLayer | None:
    """
    Return a new layer of the project's configuration, None if it does not cross processes.

    New, because channels_redis ties a layer object to the loop that receives on it.
    """
    alias = conf.get("CHANNEL_LAYER")
    if alias is None or alias not in channel_layers.configs:
        return None
    with importing:
        layer: Any = channel_layers.make_backend(alias)
    # Of the class: on the object, the pub/sub layer asks the running loop for it.
    if hasattr(type(layer), "brpop_timeout"):
        layer.brpop_timeout = BLOCK_S
    return None if isinstance(layer, InMemoryChannelLayer) else layer


@contextlib.contextmanager
def without_waiting(connection: socket.socket) -> Iterator[None]:
    """Let calls of a socket raise BlockingIOError where they would wait."""
    timeout_s = connection.gettimeout()
    connection.settimeout(0)
    try:
        yield
    finally:
        connection.settimeout(timeout_s)


def whole_or_closed(send: Callable[[], bool], close: Callable[[], None]) -> bool:
    """
    Return whether send() has sent all; close the connection if not.

    Also where a signal ended it: a part may have been sent.
    """
    is_sent = False
    try:
        is_sent = send()
    except OSError:
        pass
    finally:
        if not is_sent:
            close()
    return is_sent


async def close(layer: BaseChannelLayer) -> None:
    """Close its connections, LAYER_TIMEOUT_S at most; raises nothing."""
    # channels_redis has close_pools(), its pub/sub layer closes in flush(); others have neither.
    # (RedisChannelLayer.flush() would empty the whole Redis.)
    name = "close_pools"
    if type(layer).__name__ == "RedisPubSubChannelLayer":
        name = "flush"
    elif not hasattr(type(layer), name):
        return
    try:
        await within(LAYER_TIMEOUT_S, getattr(layer, name)())
    except Exception:
        logger.debug("the channel layer could not be closed", exc_info=True)


async def close_with_tasks(layer: BaseChannelLayer) -> None:
    """Close the layer, and end the tasks that it started; waits twice LAYER_TIMEOUT_S at most."""
    await close(layer)
    await cancel(asyncio.all_tasks() - {asyncio.current_task()}, LAYER_TIMEOUT_S)


def probe() -> bool:
    """
    Send to a group without members; return False if no layer crosses processes, or is used.

    Waits three times LAYER_TIMEOUT_S at most; raises what the layer raises. Not on a running loop.
    """
    layer = make_layer()
    # asyncio.run() waits without a bound for tasks that ignore their cancel.
    runner = None if layer is None else make_runner()
    if layer is None or runner is None:
        return False
    try:
        runner.run(_send_to_none(layer))
    finally:
        runner.close()
    return True


async def _send_to_none(layer: BaseChannelLayer) -> None:
    try:
        await within(LAYER_TIMEOUT_S, layer.group_send(EMPTY_GROUP, {"type": "eric.wake"}))
    finally:
        await close_with_tasks(layer)


# A loop for a thread, also if gevent has patched threads ------------------------------

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


def are_greenlets() -> bool:
    """Return whether gevent or eventlet has replaced this process's threads."""
    return _are_of_gevent() or _are_of_eventlet()


def _are_of_gevent() -> bool:
    return _is_patched("gevent.monkey", "is_module_patched", "threading")


def _are_of_eventlet() -> bool:
    return _is_patched("eventlet.patcher", "is_monkey_patched", "thread")


def make_runner() -> Runner | None:
    """Return a new runner, None if this process can have none; that is logged once."""
    if _are_of_gevent():
        return GeventRunner()
    if _are_of_eventlet():
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
