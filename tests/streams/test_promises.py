"""The promises of docs/design.md, whatever happens: a model beside the real thing."""

import asyncio
import os
import sys

import pytest
from asgiref.sync import sync_to_async
from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis.stateful import run_state_machine_as_test

from eric_sse_django import notifier
from eric_sse_django.database import operations
from eric_sse_django.entry import RESET, STOP
from eric_sse_django.message import Message
from eric_sse_django.outage import Backoff
from eric_sse_django.workers import FIRST, Hung, Workers
from tests import databases
from tests.database.tools import atomic
from tests.streams.promises.faults import faults
from tests.streams.promises.machine import Promises
from tests.streams.promises.serving import TIMEOUT_S

# Runs of many steps, where the usual run has few: ERIC_SSE_TEST_FUZZ=10000.
RUNS = os.environ.get("ERIC_SSE_TEST_FUZZ")
if RUNS is not None:
    pytestmark = pytest.mark.timeout(0)


@pytest.fixture
def keep(database, settings, monkeypatch):
    """
    Return a function that looks for a run in which a promise is broken, and prints it.

    Bounds are small, and no timer comes in between.
    """
    modules = {name: sys.modules[f"eric_sse_django.{name}"] for name in BOUNDS}
    monkeypatch.setattr(sys.modules["eric_sse_django.hub.hub"], "TICK_S", 3_600)
    monkeypatch.setattr(sys.modules["eric_sse_django.notifier.notifier"], "SETTLE_S", 0.001)

    # A message that is published alone gets its position at once, however soon it comes.
    monkeypatch.setattr(sys.modules["eric_sse_django.log.inserting"], "APART_S", -1.0)
    given = {"POLL_INTERVAL_S": 60, "SQLITE_LOOK_INTERVAL_S": 60, "TRIM_INTERVAL_S": 0}
    settings.ERIC_SSE = given  # once: each time would be a layer more until the end

    def configure(machine, buffer, ring, rows, cap):
        given["STREAM_BUFFER_MESSAGES"] = buffer
        given["RING_MESSAGES"] = ring
        given["MAX_WAITING_MESSAGES"] = cap or 100_000
        for name, module in modules.items():
            monkeypatch.setattr(module, BOUNDS[name], rows)

    def keep(runs, **options):
        if options["steps"]:
            # No thread runs beside another, so that a run can be repeated exactly.
            monkeypatch.setattr(notifier.Notifier, "start", lambda self: None)
            monkeypatch.setattr(Backoff, "next_delay_s", lambda self: 0.0)
            monkeypatch.setattr(notifier.Notifier, "_plan", lambda self: None)
            monkeypatch.setattr(Workers, "run", run_at_once)
        kind = type("Kept", (Promises,), {"configure": configure, **options})
        run_state_machine_as_test(
            kind,
            settings=limits(
                max_examples=runs if RUNS is None else int(RUNS),
                stateful_step_count=25 if RUNS is None else 50,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
                report_multiple_bugs=False,
            ),
        )

    return keep


async def run_at_once(self, function, *args):
    """Call a function on the hub's thread while this one waits; others run before and after."""
    for _ in range(2):
        await asyncio.sleep(0)
    hangs = faults.hangs.pop() if faults.hangs else None
    if hangs == "before":
        raise Hung
    result = self.submit(FIRST, function, *args).result(TIMEOUT_S)
    await asyncio.sleep(0)
    if hangs == "after":
        raise Hung
    return result


BOUNDS = {
    "streaming.reader": "BACKLOG_ROWS",
    "hub.follower": "LIVE_ROWS",
    "log.sequencer": "SEQUENCE_BATCH",
    "log.retention": "TRIM_BATCH",
}


@databases.sqlite_only
def test_promises_are_kept_step_by_step(keep):
    keep(50, steps=True)


@databases.postgres_only
def test_promises_are_kept_with_transactions_side_by_side(keep):
    keep(15, steps=True, several_writers=True)


# Threads race in it, so that a run cannot be repeated: for long searches.
@pytest.mark.skipif(RUNS is None, reason="set ERIC_SSE_TEST_FUZZ")
@databases.on("sqlite", "postgres")
def test_promises_are_kept_while_the_notifier_runs(keep):
    keep(8, steps=False)


# What it has found, as short as it can be ------------------------------------------


@databases.on("memory", "sqlite")
async def test_a_loss_is_followed_by_a_reset_though_a_later_one_is_still_in_memory(
    database, site, settings, monkeypatch
):
    settings.ERIC_SSE = {"RING_MESSAGES": 2}
    monkeypatch.setattr(sys.modules["eric_sse_django.streaming.reader"], "BACKLOG_ROWS", 1)
    listener = await site.listener()
    first = await site.read(listener)
    await site.publish_old(1)
    await site.publish(2, 3)
    await site.publish_old(4)
    await first.count(4)
    assert await site.trim() == 2
    late = await site.read(listener, last_event_id=0)
    await late.count(3)
    assert RESET in [event.type for event in late.events]  # 1 was lost; 2, 3, 4 came


@pytest.mark.django_db(transaction=True)
async def test_a_stop_ends_a_stream_that_has_more_to_read_than_may_wait(site, settings):
    settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": 3}
    listener = await site.listener()
    reader = await site.read(listener)
    await site.lose_sight()

    def stop_and_publish():
        with atomic():
            operations.stop([listener])
            site.channel.broadcast_many(Message("n", number) for number in range(4))

    await sync_to_async(stop_and_publish)()
    await site.at_head()
    await asyncio.wait({reader.task}, timeout=0.5)
    assert reader.stream.reason == "stopped"


@databases.on("memory", "sqlite")
async def test_a_stopped_stream_that_falls_back_gets_nothing_from_after_the_stop(database, site):
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish("before")
    await reader.count(1)
    reader.open.clear()
    await site.publish("on its way")
    await site.at_head()
    await site.control(listener, STOP)
    await site.publish("after")
    await site.at_head()
    reader.stream.fall_back()
    reader.open.set()
    assert await reader.ended() == "stopped"
    assert '"after"' not in reader.data
