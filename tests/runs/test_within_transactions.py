"""Runs in a transaction of the caller, such as that of a TestCase."""

from asgiref.sync import async_to_sync

from eric_sse_django import runs
from eric_sse_django.models import Listener
from tests.database.tools import roll_back
from tests.databases import rolled_back
from tests.runs.tools import fresh, text_of


@rolled_back
def test_a_test_case_reads_what_it_wrote(database):
    run = runs.start(key="answer-1")
    with runs.produce(run) as out:
        for word in ("one ", "two ", "three"):
            out.write(word)
        out.progress(1, 2)
        out.result = 3
    assert (text_of(run), fresh(run).status, fresh(run).result) == ("one two three", "finished", 3)
    assert [chunk.value for chunk in runs.follow(run)] == ["one ", "two ", "three"]


@rolled_back
def test_a_test_case_stops_and_fails_runs(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.write("a")
        runs.stop(run)
        out.flush()
        while True:
            out.write("b")
            out.flush()
    assert fresh(run).status == "stopped"


@rolled_back
def test_a_coroutine_of_a_test_case_produces(database):
    run = runs.start()

    async def work():
        async with runs.aproduce(run) as out:
            out.write("one ")
            await out.flush()
            out.write("two")

    async_to_sync(work)()
    assert (text_of(run), fresh(run).status) == ("one two", "finished")


def test_a_rollback_keeps_nothing_of_a_run(database):
    def work():
        run = runs.start()
        with runs.produce(run) as out:
            out.write("a")

    roll_back(work)
    assert not Listener.objects.exists()
    assert not runs.Run.objects.exists()
