"""A run's life: keys, stops, lost leases, taking over, removal."""

import asyncio
import threading

import pytest

from eric_sse_django import notifier, runs
from eric_sse_django.authorization import arevoke
from eric_sse_django.exception import StreamEnded
from eric_sse_django.log import chores
from eric_sse_django.models import Listener
from eric_sse_django.runs import producer, reaping
from eric_sse_django.runs.models import Run
from tests.database.tools import threads
from tests.patience import PATIENCE_S
from tests.runs.tools import fresh, late, text_of, types_of

# Keys ----------------------------------------------------------------------------------


def test_a_key_that_is_used_at_once_by_several_is_one_run(database):
    start, found = threading.Barrier(4), []

    def work():
        start.wait()
        found.append(runs.start(key="answer-1").id)

    with threads() as started:
        for _ in range(4):
            started.start(work)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert Listener.objects.count() == Run.objects.count() == 1


def test_keys_that_differ_in_case_or_blanks_are_two(database):
    assert len({runs.start(key=key).pk for key in ("a", "A", "a ", "á")}) == 4


def test_a_run_is_found_by_its_exact_id_and_owner(database, ana):
    run = runs.start(owner=ana)
    assert runs.get(run.id, owner=ana) == run
    for wrong in (run.id.upper(), run.id[1:], "\0", ""):
        with pytest.raises(Run.DoesNotExist):
            runs.get(wrong)
    with pytest.raises(Run.DoesNotExist):
        runs.get(run.id, owner=ana.pk + 1)


# Stops -----------------------------------------------------------------------------------


def test_a_stop_is_seen_by_a_producer_that_writes_nothing(database):
    run = runs.start()
    with runs.produce(run) as out:
        runs.stop(runs.get(run.id))
        assert out.wait_for_stop(5)
        assert out.stopping
    assert run.status == "stopped"


async def test_a_stop_is_seen_by_a_coroutine_that_waits(database, hub_closes):
    run = await runs.astart()
    async with runs.aproduce(run) as out:
        out.write("half")
        waiting = asyncio.create_task(out.stopped())
        await asyncio.sleep(0)
        await runs.astop(await runs.aget(run.id))
        await asyncio.wait_for(waiting, 5)
        with pytest.raises(runs.RunStopped):
            out.write("more")
    assert run.status == "stopped"


def test_a_stop_after_the_end_changes_nothing(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.write("all")
    assert not runs.stop(run)
    assert fresh(run).status == "finished"
    assert not fresh(run).stop_requested


def test_a_run_that_ends_before_its_producer_sees_the_stop_is_finished(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.write("all of it")
        Run.objects.filter(pk=run.pk).update(stop_requested=True)
    assert fresh(run).status == "finished"


def test_a_run_that_others_end_is_written_no_more(database):
    def work(run, end):
        with runs.produce(run) as out:
            out.write("a")
            out.flush()
            assert end(runs.get(run.id))
            out.write("b")
            out.flush()

    for end, status in ((runs.finish, "finished"), (lambda run: runs.fail(run, "no"), "failed")):
        run = runs.start()
        with pytest.raises(runs.RunTaken):
            work(run, end)
        assert (fresh(run).status, text_of(run)) == (status, "a")
        assert types_of(run)[-1] == f"run-{status}"


# Producers that are gone -------------------------------------------------------------


def test_a_lease_that_is_over_makes_a_run_lost_and_another_continues_it(database):
    run = runs.start()
    gone = runs.produce(run)
    old = gone.__enter__()
    old.write("one ")
    old.flush()
    late(run)
    assert runs.reap() == 1
    assert runs.reap() == 0
    assert (fresh(run).status, types_of(run)[-1]) == ("lost", "run-lost")
    with runs.produce(runs.get(run.id)) as out:
        assert out.index == 1
        out.write("two")
        out.flush()
        old.write("twice")
        with pytest.raises(runs.RunTaken):
            old.flush()
    with pytest.raises(runs.RunTaken):
        gone.__exit__(None, None, None)
    assert text_of(run) == "one two"
    assert fresh(run).status == "finished"


def test_a_producer_whose_lease_was_over_continues_if_no_other_has_the_run(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.write("one ")
        out.flush()
        late(run)
        runs.reap()
        out.write("two")
        out.flush()
        assert fresh(run).status == "running"
    assert (text_of(run), run.status, run.error) == ("one two", "finished", "")


def test_a_lost_run_that_was_asked_to_stop_is_stopped(database):
    run = runs.start()
    Run.objects.filter(pk=run.pk).update(status="running", lease_until=1)
    runs.stop(run)
    runs.reap()
    assert (fresh(run).status, types_of(run)[-1]) == ("stopped", "run-stopped")


def test_a_lease_is_renewed_while_nothing_is_written(database, settings):
    settings.ERIC_SSE = {"RUNS_LEASE_S": 2.0}
    run, woken = runs.start(), threading.Event()
    with runs.produce(run):
        before = fresh(run).lease_until
        while fresh(run).lease_until <= before:
            assert not woken.wait(0.1)
        assert runs.reap() == 0


def test_what_ends_the_process_makes_a_run_lost_at_once(database):
    run = runs.start()

    def work():
        with runs.produce(run) as out:
            out.write("half")
            raise SystemExit

    with pytest.raises(SystemExit):
        work()
    assert (run.status, text_of(run)) == ("lost", "half")
    with runs.produce(run) as out:
        out.write(" and half")
    assert text_of(run) == "half and half"


async def test_a_coroutine_that_is_cancelled_makes_a_run_lost(database, hub_closes):
    run, begun = await runs.astart(), asyncio.Event()

    async def work():
        async with runs.aproduce(run) as out:
            out.write("half")
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.status == "lost"


async def test_a_coroutine_that_is_cancelled_while_it_takes_the_lease_keeps_none(
    database, hub_closes, monkeypatch
):
    """Else nobody could produce the run until that lease is over."""
    run, begins, goes_on = await runs.astart(), threading.Event(), threading.Event()
    take = producer.take

    def slowly(run):
        begins.set()
        goes_on.wait(PATIENCE_S)
        return take(run)

    monkeypatch.setattr(producer, "take", slowly)

    async def work():
        async with runs.aproduce(run):
            pytest.fail("it was cancelled before")

    task = asyncio.create_task(work())
    await asyncio.to_thread(begins.wait, PATIENCE_S)
    task.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.status == "lost"
    async with runs.aproduce(run) as out:
        out.write("another")
    assert run.status == "finished"


# Removal and access ----------------------------------------------------------------------


def test_the_runs_of_a_user_that_is_deleted_are_removed(database, ana):
    run = runs.start(owner=ana)

    def work():
        with runs.produce(run) as out:
            out.write("a")
            out.flush()
            ana.delete()
            out.write("b")
            out.flush()

    with pytest.raises(runs.RunEnded, match="removed"):
        work()
    assert not Run.objects.exists()
    assert not Listener.objects.exists()


@pytest.mark.parametrize("by", ["object", "queryset", "listener"])
def test_a_run_that_is_deleted_has_no_listener(database, by):
    runs.start()
    run = runs.start()
    if by == "object":
        run.delete()
    elif by == "queryset":
        Run.objects.filter(name=run.name).delete()
    else:
        run.listener.delete()
    assert Run.objects.count() == Listener.objects.count() == 1


async def test_a_revocation_ends_a_follower_and_not_the_run(database, ana, call, hub_closes):
    run = await call(runs.start, ana)
    async with runs.aproduce(run) as out:
        out.write("a")

        seen = asyncio.Event()

        async def follow():
            async for _ in runs.follow(await runs.aget(run.id)):
                seen.set()

        task = asyncio.create_task(follow())
        await asyncio.wait_for(seen.wait(), 10)
        await arevoke(user=ana)
        with pytest.raises(StreamEnded, match="revoked"):
            await task
        out.write("b")
    assert [each.value for each in await runs.aread(run)] == ["a", "b"]


def test_each_process_that_publishes_finds_runs_that_are_lost(database, monkeypatch):
    run, woken = runs.start(), threading.Event()
    monkeypatch.setattr(reaping, "interval_s", lambda: 0.1)
    monkeypatch.setattr(chores, "_chores", [chores.Chore(reaping.reap, reaping.interval_s)])
    Run.objects.filter(pk=run.pk).update(status="running", lease_until=1)
    notifier.current().start()
    while fresh(run).status == "running":
        assert not woken.wait(0.05)
    assert fresh(run).status == "lost"


def test_a_chore_that_fails_is_done_again(database, monkeypatch):
    done = threading.Event()
    calls = []

    def fail_once():
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError
        done.set()

    monkeypatch.setattr(chores, "_chores", [chores.Chore(fail_once, lambda: 0.1)])
    notifier.current().start()
    assert done.wait(10)
