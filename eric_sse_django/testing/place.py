"""Where a test's streams run: an event loop that only runs while the test waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation

from eric_sse_django import notifier
from eric_sse_django.hub import Hub
from eric_sse_django.hub.hub import _hubs
from eric_sse_django.workers import in_place

# Seconds between two looks whether what a test waits for is there.
LOOK_S = 0.001
# Seconds in which tasks that are cancelled end.
CANCEL_S = 2.0
# Turns of the loop in which the last events come from the log to the client.
FLUSH_TURNS = 20


class _NoNotifier:
    """Gives positions where the test runs, when something rings; it has no thread."""

    def ring(self) -> None:
        notifier.settle()


class _TestHub(Hub):
    """A hub that only reads the log: it receives no wakes, and starts no thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        nothing: Any = _NoNotifier()
        super().__init__(loop, find_notifier=lambda: nothing)

    async def _start(self) -> None:
        await self.follower.start()
        self._spawn(self.follower.follow())

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._thread.submit(0, notifier.settle)


class Place:
    """A loop with its hub, on whatever thread calls it: the test's."""

    def __init__(self) -> None:
        check_thread()
        self._loop = asyncio.new_event_loop()
        self._is_closing = False

    def run(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        """Run a coroutine function to its end."""
        return self._run(function(*args))

    def turn(self, most_s: float, is_done: Callable[[], Any]) -> None:
        """Run what is there to do, until something is true, for `most_s` seconds at most."""

        notifier.settle()  # in the transaction of a test nothing else gives positions

        async def turn() -> None:
            self._wake()
            loop = asyncio.get_running_loop()
            stop = asyncio.Event()
            loop.call_later(most_s, stop.set)
            while not (stop.is_set() or is_done()):  # noqa: ASYNC110 - a caller's condition
                await asyncio.sleep(LOOK_S)

        self._run(turn())

    def settle(self) -> None:
        """Run until the streams have been given all that is published by now."""

        notifier.settle()

        async def settle() -> None:
            hub = self._wake()
            await hub.ready()
            await hub.follower.look()
            for _ in range(FLUSH_TURNS):
                await asyncio.sleep(0)

        self._run(settle())

    def close(self) -> None:
        """End the hub and the loop. May be called twice."""
        if self._loop.is_closed():
            return
        self._is_closing = True
        self._run(Hub.close_all())
        self._run(_cancel_others())
        with in_place():
            self._loop.close()

    def _wake(self) -> Hub:
        hub = _hubs[self._loop]
        hub.wake(None)
        return hub

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._loop not in _hubs and not self._is_closing:
            with in_place():
                _hubs[self._loop] = _TestHub(self._loop)
        with in_place():
            # Not in the test's context: asgiref would look there for the thread of its loop.
            task = Context().run(self._loop.create_task, coroutine)
            return self._loop.run_until_complete(task)


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CANCEL_S)  # some may ignore it


def check_thread() -> None:
    """Raise SynchronousOnlyOperation where a loop runs: Django refuses queries there."""
    if asyncio._get_running_loop() is not None:
        raise SynchronousOnlyOperation(
            "In a coroutine, use `async with StreamClient(…)`, and the methods with the prefix "
            "`a`: `await stream.anext()`."
        )
