"""The hub's database thread: one connection, in order, and never in the way of the end."""

import asyncio
import threading
from collections import Counter

import pytest
from django.db import OperationalError, connections

from eric_sse_django.log import connected
from eric_sse_django.workers import FIRST, NEXT, Workers, _Worker

pytestmark = pytest.mark.django_db(transaction=True)  # each call checks the database's file


@pytest.fixture
def thread():
    thread = Workers("test", lambda: 5.0, Counter(), before=connected)
    yield thread
    thread.close()
    thread.join(2)


def connect():
    connections["default"].ensure_connection()
    return id(connections["default"].connection)


async def test_all_calls_use_one_connection(thread):
    assert len({await thread.run(connect) for _ in range(3)}) == 1


async def test_a_database_error_closes_the_connection_and_others_do_not(thread):
    def fail(error):
        raise error

    def raw():
        return connections["default"].connection

    before = await thread.run(raw)
    with pytest.raises(KeyError):
        await thread.run(fail, KeyError("a bug"))
    assert await thread.run(raw) is before
    with pytest.raises(OperationalError):
        await thread.run(fail, OperationalError("gone"))
    assert await thread.run(raw) is not before


async def test_calls_of_the_tail_are_made_before_those_that_wait(thread):
    blocked, order = threading.Event(), []
    first = thread.submit(NEXT, blocked.wait)
    waiting = [asyncio.ensure_future(thread.run(order.append, number)) for number in (1, 2)]
    await asyncio.sleep(0)
    waiting.append(asyncio.wrap_future(thread.submit(FIRST, order.append, 0)))
    await asyncio.sleep(0)
    blocked.set()
    await asyncio.gather(*waiting)
    first.result(1)
    assert order == [0, 1, 2]


async def test_a_call_that_was_cancelled_is_not_made(thread):
    blocked, order = threading.Event(), []
    thread.submit(NEXT, blocked.wait)
    waiting = asyncio.ensure_future(thread.run(order.append, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    blocked.set()
    await thread.run(order.append, 2)
    assert order == [2]


async def test_calls_that_were_submitted_before_the_end_are_made(thread):
    order = []
    done = thread.submit(NEXT, order.append, 1)
    thread.close()
    thread.close()
    thread.join(2)
    assert done.done()
    assert order == [1]
    assert thread.ended.done()
    with pytest.raises(RuntimeError, match="closed"):
        await thread.run(order.append, 2)


def test_a_query_that_hangs_does_not_keep_the_process(thread):
    assert _Worker(thread).daemon
