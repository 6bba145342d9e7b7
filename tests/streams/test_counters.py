"""What hubs have done is counted, and never uncounted."""

import os

import pytest

from eric_sse_django.counters import BOUNDS_S, Delays, Totals
from eric_sse_django.entry import Entry
from eric_sse_django.hub import End, Hub, totals


def sums():
    return totals.sums()[0]


def test_a_delay_is_counted_in_the_first_bucket_that_is_no_shorter():
    delays = Delays()
    for seconds in (-1, 0, 0.001, 0.0011, 10, 11):
        delays.note(seconds)
    assert delays.counts[:2] == [3, 1]
    assert delays.counts[-2:] == [1, 1]
    assert len(delays.counts) == len(BOUNDS_S) + 1
    assert delays.sum_s == pytest.approx(21.0021)


def test_the_sums_keep_what_an_ended_hub_has_counted():
    of_process = Totals()
    first, second = of_process.of_new_hub(), of_process.of_new_hub()
    first.delivered, second.delivered = 3, 4
    first.ended["age"] += 1
    second.ended["age"] += 2
    assert of_process.sums()[0].delivered == 7
    of_process.retire(first)
    of_process.retire(first)
    assert of_process.sums()[0].delivered == 7
    assert of_process.sums()[0].ended == {"age": 3}


def test_resets_are_counted_among_what_the_log_gave():
    counters = Totals().of_new_hub()
    message = Entry(1, 1, None, None, "n", "1")
    counters.read_from_log([Entry.reset(1, None, 0, 5), message])
    counters.from_memory += 1
    assert (counters.from_log, counters.resets, counters.from_memory) == (2, 1, 1)


async def test_a_streams_life_is_counted(site):
    before = sums()
    reader = await site.read(await site.listener())
    await site.at_head()  # a look that began before the stream would not deliver to it
    await site.publish(1, 2)
    await reader.count(2)
    reader.stream.end(End.AGE)
    await reader.ended()
    after = sums()
    assert after.opened - before.opened == 1
    assert after.ended["age"] - before.ended["age"] == 1
    assert after.delivered - before.delivered == 2
    assert sum(after.delays.counts) > sum(before.delays.counts)
    assert sum(after.wake_delays.counts) > sum(before.wake_delays.counts)


async def test_messages_to_a_stream_that_was_behind_are_counted_by_source(site):
    listener = await site.listener()
    first = await site.read(listener)  # so that the channel has a ring buffer
    await site.at_head()
    before = sums()
    await site.publish(1, 2, 3)
    await first.count(3)
    await (await site.read(listener, first.ids[0])).count(2)
    assert sums().from_memory - before.from_memory == 2
    assert sums().from_log == before.from_log
    await Hub.close_all()
    await (await site.read(listener, first.ids[0])).count(2)
    assert sums().from_log - before.from_log == 2


async def test_a_buffer_that_overflows_is_counted(site, settings):
    settings.ERIC_SSE = {"STREAM_BUFFER_MESSAGES": 1}
    before = sums().lagging
    reader = await site.read(await site.listener())
    await site.at_head()
    reader.open.clear()
    await site.publish(0)
    await reader.count(1)
    for number in range(1, 4):
        await site.publish(number)
        await site.at_head()
    assert sums().lagging - before == 1
    reader.open.set()
    assert await reader.count(4) == ["0", "1", "2", "3"]


def test_a_child_process_begins_at_zero():
    totals.refused("403")
    child = os.fork()
    if child == 0:
        counters, refused = totals.sums()
        os._exit(counters.opened + len(refused))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
