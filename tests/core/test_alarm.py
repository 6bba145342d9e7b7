import asyncio
import copy
import threading
import time

import pytest

from eric_sse_django import alarm as alarm_module
from eric_sse_django.alarm import Alarm, Watchers
from tests.contract import soon


async def test_a_ring_from_another_thread_ends_the_wait():
    watchers = Watchers()
    with Alarm(watchers.add) as alarm:
        waiting = asyncio.create_task(alarm.wait())
        await asyncio.sleep(0)
        threading.Thread(target=watchers.wake).start()
        await soon(waiting)


async def test_a_ring_between_clear_and_wait_is_kept():
    watchers = Watchers()
    with Alarm(watchers.add) as alarm:
        alarm.clear()
        watchers.wake()
        await soon(alarm.wait())


async def test_a_cleared_ring_is_forgotten():
    watchers = Watchers()
    with Alarm(watchers.add) as alarm:
        watchers.wake()
        await soon(alarm.wait())
        alarm.clear()
        waiting = asyncio.create_task(alarm.wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        watchers.wake()
        await soon(waiting)


async def test_many_rings_in_a_row_cross_to_the_loop_once(monkeypatch):
    crossings = []
    loop = asyncio.get_running_loop()
    cross = loop.call_soon_threadsafe
    monkeypatch.setattr(
        loop, "call_soon_threadsafe", lambda *args: (crossings.append(1), cross(*args))
    )
    with Alarm() as alarm:
        for _ in range(100):
            alarm.wake()
        await soon(alarm.wait())
    assert len(crossings) == 1


async def test_a_wait_ends_after_its_time():
    with Alarm(Watchers().add) as alarm:
        await soon(alarm.wait(0.001))


async def test_a_wait_that_a_ring_ended_cancels_its_timer(monkeypatch):
    timers = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def record(*args):
        timers.append(call_later(*args))
        return timers[-1]

    with Alarm() as alarm, monkeypatch.context() as patched:
        patched.setattr(loop, "call_later", record)
        alarm.wake()
        await alarm.wait(60)
    [timer] = timers
    assert timer.cancelled()


async def test_a_wait_without_notifications_ends_at_the_next_look(monkeypatch):
    monkeypatch.setattr(alarm_module, "LOOK_INTERVAL_S", 0.001)
    with Alarm(lambda wake: None) as alarm:
        await soon(alarm.wait())
        alarm.clear()
        await soon(alarm.wait(60))


async def test_an_alarm_removes_its_wakes_on_exit():
    watchers = Watchers()
    with Alarm(watchers.add, watchers.add):
        assert len(watchers) == 2
    assert len(watchers) == 0


async def test_an_alarm_that_fails_to_start_removes_its_wakes():
    watchers = Watchers()

    def refuse(wake):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Alarm(watchers.add, refuse).__enter__()
    assert len(watchers) == 0


def test_a_ring_after_the_loop_has_closed_is_harmless():
    async def enter():
        return Alarm().__enter__()

    asyncio.run(enter()).wake()


async def test_a_sleep_lasts_its_time_when_nothing_changes():
    with Alarm() as alarm:
        before = time.monotonic()
        await soon(alarm.sleep(0.01, lambda: True))
        assert time.monotonic() - before >= 0.009


async def test_a_ring_does_not_shorten_a_sleep_that_may_continue():
    watchers = Watchers()
    looks = []

    def goes_on():
        looks.append(1)
        return True

    with Alarm(watchers.add) as alarm:
        before = time.monotonic()
        sleeping = asyncio.create_task(alarm.sleep(0.01, goes_on))
        await asyncio.sleep(0)
        watchers.wake()
        await soon(sleeping)
        assert time.monotonic() - before >= 0.009
    # One at the start, one for the wake, and one if the timer came a little early.
    assert 2 <= len(looks) <= 3


async def test_a_sleep_that_may_not_continue_ends_at_the_ring():
    watchers = Watchers()
    going_on = [True]
    with Alarm(watchers.add) as alarm:
        sleeping = asyncio.create_task(alarm.sleep(60, lambda: going_on[0]))
        await asyncio.sleep(0)
        going_on[0] = False
        watchers.wake()
        await soon(sleeping)


async def test_a_sleep_of_no_time_lets_other_tasks_run():
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, 1)
    with Alarm() as alarm:
        await alarm.sleep(0, lambda: True)
    assert ran == [1]


def test_a_copy_of_watchers_is_empty():
    watchers = Watchers()
    watchers.add(lambda: None)
    assert len(copy.deepcopy(watchers)) == 0


def test_undoing_one_of_two_equal_wakes_keeps_the_other():
    watchers = Watchers()
    seen = []

    def wake():
        seen.append(1)

    undo = watchers.add(wake)
    watchers.add(wake)
    undo()
    watchers.wake()
    assert seen == [1]
