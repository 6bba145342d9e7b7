"""Waiting, for a bounded time, for coroutines that may ignore their cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Seconds after which a cancelled task that still runs is cancelled again: before Python 3.12
# wait_for() sometimes swallows a cancellation, and so do libraries that use it.
AGAIN_S = 0.05
# Seconds after which a cancelled task that still runs is abandoned.
CANCEL_S = 2.0


async def cancel(
    tasks: Collection[asyncio.Task[Any]], timeout_s: float = CANCEL_S
) -> set[asyncio.Task[Any]]:
    """
    Cancel the tasks, repeatedly until they are done; return those that are not.

    Waits `timeout_s` at most, and raises none of their exceptions. Not for the calling task.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    others = {task for task in tasks if not task.done()}
    for task in tasks:
        task.add_done_callback(retrieve)
    while others:
        for task in others:
            task.cancel()
        _, others = await asyncio.wait(others, timeout=AGAIN_S)
        if loop.time() >= until:
            break
    return others


async def until_one_ends(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """
    Run coroutines side by side until the first one ends; raise what it raises.

    The others are cancelled, as by cancel(), also where the caller is.
    """
    tasks = {asyncio.ensure_future(each) for each in coroutines}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel(tasks)


async def within(timeout_s: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """
    Return what the coroutine returns; raise asyncio.TimeoutError after `timeout_s`.

    Like asyncio.wait_for(), but it never waits for a coroutine that ignores its cancellation.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    except asyncio.CancelledError:
        task.add_done_callback(retrieve)
        task.cancel()
        raise
    if not done:
        await cancel({task}, AGAIN_S)
        raise asyncio.TimeoutError(f"no answer within {timeout_s:g} s")
    return task.result()


def retrieve(future: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging an exception that no caller waits for."""
    if not future.cancelled():
        future.exception()
