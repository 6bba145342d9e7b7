"""Waiting for coroutines that ignore their cancel has a bound."""

import asyncio
import gc
import time

import pytest

from eric_sse_django.cancelling import cancel, until_one_ends, within


async def stubborn(released: asyncio.Event) -> str:
    """Ignore every cancel until released."""
    while not released.is_set():
        try:
            await released.wait()
        except asyncio.CancelledError:
            continue
    return "released"


@pytest.fixture
async def released():
    released = asyncio.Event()
    yield released
    released.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_cancelled_tasks_have_ended():
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
    assert await cancel(tasks) == set()
    assert all(task.cancelled() for task in tasks)


async def test_a_task_that_swallows_some_cancels_ends():
    swallowed = 0

    async def swallow():
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1

    task = asyncio.create_task(swallow())
    await asyncio.sleep(0)
    assert await cancel([task]) == set()
    assert swallowed == 3


async def test_a_task_that_swallows_every_cancel_is_abandoned(released):
    task = asyncio.create_task(stubborn(released))
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await cancel([task], 0.05) == {task}
    assert time.monotonic() - began < 2


async def test_what_a_cancelled_task_raises_is_ignored(caplog):
    async def fail():
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("late")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    assert await cancel([task]) == set()
    del task
    gc.collect()
    assert caplog.records == []


async def test_within_returns_and_raises_what_the_coroutine_does():
    async def fail():
        raise ValueError("its own")

    assert await within(5, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="its own"):
        await within(5, fail())


async def test_within_waits_no_longer_also_where_the_cancel_is_ignored(released):
    began = time.monotonic()
    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, stubborn(released))
    assert time.monotonic() - began < 2


async def test_a_cancelled_within_ends_at_once_and_cancels_what_it_waits_for():
    inner = asyncio.get_running_loop().create_future()

    async def wait():
        await inner

    outer = asyncio.create_task(within(60, wait()))
    await asyncio.sleep(0.001)
    assert await cancel([outer]) == set()
    await asyncio.sleep(0.001)
    assert inner.cancelled()


class Running:
    """Coroutines that run until they are cancelled; `ended` counts these."""

    def __init__(self) -> None:
        self.ended = 0

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


async def test_the_first_of_several_that_ends_ends_the_others():
    others = Running()
    await until_one_ends(others.run(), asyncio.sleep(0), others.run())
    assert others.ended == 2


async def test_what_the_first_one_raises_is_raised():
    async def fail() -> None:
        raise ConnectionError("gone")

    others = Running()
    with pytest.raises(ConnectionError, match="gone"):
        await until_one_ends(others.run(), fail())
    assert others.ended == 1


async def test_all_end_with_a_caller_that_is_cancelled():
    others = Running()
    caller = asyncio.ensure_future(until_one_ends(others.run(), others.run()))
    await asyncio.sleep(0.01)
    assert await cancel([caller]) == set()
    assert others.ended == 2
