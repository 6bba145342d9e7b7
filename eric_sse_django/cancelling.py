"""Waiting for coroutines that may ignore their cancel: always with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Seconds after which a task that was cancelled and goes on is cancelled again: before Python
# 3.12 wait_for() swallows a cancel now and then, and so do libraries that use it.
AGAIN_S = 0.05
# Seconds after which a cancelled task that goes on is left to itself.
CANCEL_S = 2.0


async def cancel(
    tasks: Collection[asyncio.Task[Any]], timeout_s: float = CANCEL_S
) -> set[asyncio.Task[Any]]:
    """
    Cancel the tasks, again and again until they are done; return those that are not.

    Waits `timeout_s` at most, and raises nothing of theirs. Not for the task that calls it.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    others = {task for task in tasks if not task.done()}
    for task in tasks:
        task.add_done_callback(_retrieve)
    while others:
        for task in others:
            task.cancel()
        _, others = await asyncio.wait(others, timeout=AGAIN_S)
        if loop.time() >= until:
            break
    return others


async def within(timeout_s: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """
    Return what the coroutine returns; raise asyncio.TimeoutError after `timeout_s`.

    As asyncio.wait_for(), but that it never waits for a coroutine that ignores its cancel.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    except asyncio.CancelledError:
        task.add_done_callback(_retrieve)
        task.cancel()
        raise
    if not done:
        await cancel({task}, AGAIN_S)
        raise asyncio.TimeoutError(f"no answer within {timeout_s:g} s")
    return task.result()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging what a task raised that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
