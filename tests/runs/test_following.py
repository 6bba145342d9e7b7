"""Following a run to its end, from its beginning or an index, live."""

import asyncio

import pytest

from eric_sse_django import runs
from tests.database.tools import threads
from tests.runs.tools import late


async def followed(run, after=0, seen=None):
    found = []
    async for chunk in runs.follow(run, after):
        found.append((chunk.index, chunk.value))
        if seen is not None:
            seen.set()
    return found


async def test_a_follower_gets_what_there_is_and_then_what_comes(database, hub_closes):
    run = await runs.astart()
    async with runs.aproduce(run) as out:
        out.write("one ")
        await out.flush()
        seen = asyncio.Event()
        first = asyncio.create_task(followed(await runs.aget(run.id), 0, seen))
        await asyncio.wait_for(seen.wait(), 10)
        second = asyncio.create_task(followed(await runs.aget(run.id), 1))
        out.write("two ")
        await out.flush()
        out.send({"three": 3})
    whole = [(0, "one "), (1, "two "), (2, {"three": 3})]
    assert await asyncio.wait_for(first, 10) == whole
    assert await asyncio.wait_for(second, 10) == whole[1:]
    assert await followed(run) == whole
    assert await followed(run, 3) == []


async def test_a_follower_of_a_run_that_waits_gets_all_of_it(database, hub_closes):
    run = await runs.astart()
    mine = await runs.aget(run.id)
    task = asyncio.create_task(followed(mine))
    await asyncio.sleep(0)
    async with runs.aproduce(run) as out:
        out.write("a")
        out.result = 7
    assert await asyncio.wait_for(task, 10) == [(0, "a")]
    assert (mine.status, mine.result) == ("finished", 7)


async def test_a_follower_continues_where_another_producer_continues(database, hub_closes, call):
    run = await runs.astart()
    gone = runs.aproduce(run)
    out = await gone.__aenter__()
    out.write("one ")
    await out.flush()
    await call(late, run)
    await call(runs.reap)
    async with runs.aproduce(await runs.aget(run.id)) as out:
        out.write("two")
        await out.flush()
        # Its log has the loss, which is over.
        task = asyncio.create_task(followed(await runs.aget(run.id)))
        out.write(" three")
    assert await asyncio.wait_for(task, 10) == [(0, "one "), (1, "two"), (2, " three")]
    with pytest.raises(runs.RunTaken):
        await gone.__aexit__(None, None, None)


async def test_a_follower_ends_a_run_whose_producer_is_gone(database, hub_closes, call):
    run = await runs.astart()
    gone = runs.aproduce(run)
    out = await gone.__aenter__()
    out.write("half")
    await out.flush()
    await call(late, run)
    mine = await runs.aget(run.id)
    assert await followed(mine) == [(0, "half")]
    assert mine.status == "lost"
    await gone.__aexit__(None, None, None)


def test_a_thread_follows_too(database):
    run = runs.start()
    mine = runs.get(run.id)
    with threads() as started:
        followed = started.start(lambda: [chunk.value for chunk in runs.follow(mine)])
        with runs.produce(run) as out:
            out.write("one ")
            out.flush()
            out.write("two")
        assert followed.result(10) == ["one ", "two"]
    assert mine.status == "finished"


async def test_a_follower_of_a_run_that_is_removed_is_notified(database, hub_closes, call):
    run = await runs.astart()
    chunks = aiter(runs.follow(run))
    async with runs.aproduce(await runs.aget(run.id)) as out:
        out.write("a")
        assert (await anext(chunks)).value == "a"
    other = await runs.astart()
    chunks = aiter(runs.follow(other))
    waiting = asyncio.create_task(anext(chunks))
    await asyncio.sleep(0)
    await call(other.listener.delete)
    with pytest.raises(runs.RunEnded):
        await asyncio.wait_for(waiting, 10)
