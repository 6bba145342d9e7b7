"""Runs that are produced by the tasks of Celery, procrastinate and django.tasks, the real ones."""

import importlib
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connections

from eric_sse_django import runs
from eric_sse_django.log import database
from eric_sse_django.runs import tasks
from eric_sse_django.runs.models import Run
from tests import databases
from tests.conftest import missing
from tests.database.process import ROOT
from tests.database.tools import roll_back, threads
from tests.faults.ending import ending_with_parent
from tests.runs.tools import fresh, late, text_of, types_of

WORDS = ["one ", "two ", "three"]

# The packages do not depend on the database.
pytestmark = databases.sqlite_only


def tasks_of(package, module):
    """Return the module with the tasks of a package, if that is installed."""
    if find_spec(package) is None:
        missing(f"{package} is not installed")
    return importlib.import_module(f"tests.runs.{module}")


# Celery ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def celery_worker(django_db_setup, tmp_path_factory):
    """Start a worker, which takes seconds; return the tasks that it does in its own process."""
    folder = tmp_path_factory.mktemp("celery")  # the broker's
    for name in ("data", "control"):
        (folder / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERIC_SSE_TEST_CELERY", str(folder))
        found = tasks_of("celery", "celery_jobs")
    command = [sys.executable, "-m", "celery", "-A", "tests.runs.celery_jobs", "worker"]
    worker = subprocess.Popen(
        ending_with_parent([*command, "-P", "solo"]),
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ERIC_SSE_TEST_DB": databases.address("default"),
            "ERIC_SSE_TEST_CELERY": str(folder),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield found
    worker.kill()
    worker.wait()


@pytest.fixture
def celery(database, celery_worker):
    return celery_worker


def ended(run):
    """Return the status, the text and the result of a run that is followed to its end."""
    mine = runs.get(run.id)
    text = "".join(chunk.value for chunk in runs.follow(mine))
    return mine.status, text, mine.result


@pytest.mark.live
def test_celery_produces_the_run_that_enqueue_returns(celery, ana):
    run = runs.enqueue(celery.answer, [WORDS], {"errors": []}, owner=ana, kind="answer")
    assert run.owner_id == ana.pk
    assert ended(run) == ("finished", "one two three", 3)


@pytest.mark.live
def test_attempts_of_celery_continue_the_run_until_the_last_one_fails(celery):
    failed = runs.enqueue(celery.answer, [WORDS, ["ValueError"]])
    both = celery.retried_by_celery, celery.bound
    once = [runs.enqueue(each, [WORDS, ["KeyError"]]) for each in both]
    twice = [runs.enqueue(each, [WORDS, ["KeyError", "KeyError"]]) for each in both]
    assert ended(failed) == ("failed", "one ", None)
    assert fresh(failed).error == "ValueError: secret"
    for run in once:
        assert ended(run) == ("finished", "one two three", 3)
        assert fresh(run).epoch == 2
        assert types_of(run).count("run-chunk") == 3
    for run in twice:
        assert ended(run) == ("failed", "one two ", None)


@pytest.mark.live
def test_a_run_whose_producer_was_killed_is_enqueued_again(celery):
    killed = runs.start()
    of_celery = "tests.runs.celery_jobs.repeated"
    task = {"name": of_celery, "args": [WORDS], "kwargs": {}, "retries": 2}
    rows = Run.objects.filter(pk=killed.pk)
    rows.update(status="running", epoch=1, lease_until=1, task=task)
    assert runs.reap() == 1
    assert ended(killed) == ("finished", "one two three", 3)
    assert types_of(killed).count("run-lost") == 0


def test_a_run_whose_producer_was_killed_too_often_is_lost(database):
    killed = runs.start()
    task = {"name": "tests.runs.celery_jobs.repeated", "args": [], "kwargs": {}, "retries": 2}
    rows = Run.objects.filter(pk=killed.pk)
    rows.update(status="running", epoch=3, lease_until=1, task=task)
    runs.reap()
    assert fresh(killed).status == "lost"


# What all have ---------------------------------------------------------------------------


@pytest.fixture
def django_jobs(database, settings):
    """Return tasks of django.tasks, which are done as they are enqueued."""
    is_djangos = find_spec("django.tasks") is not None
    package = "django.tasks" if is_djangos else "django_tasks"
    settings.TASKS = {"default": {"BACKEND": f"{package}.backends.immediate.ImmediateBackend"}}
    return tasks_of(package, "django_jobs")


def test_nothing_is_enqueued_if_the_transaction_is_rolled_back(django_jobs):
    roll_back(lambda: runs.enqueue(django_jobs.answer, [WORDS]))
    assert not Run.objects.exists()


def test_a_key_twice_is_enqueued_once(django_jobs):
    first = runs.enqueue(django_jobs.answer, [WORDS], key="answer-1")
    second = runs.enqueue(django_jobs.answer, [["other"]], key="answer-1")
    assert first == second
    assert text_of(first) == "one two three"


def test_a_run_that_was_stopped_before_its_task_is_not_produced(django_jobs):
    run = runs.start()
    runs.stop(run)
    django_jobs.answer.enqueue(run.id, WORDS)
    assert (fresh(run).status, text_of(run)) == ("stopped", "")


def test_a_task_that_is_repeated_after_its_end_writes_nothing(django_jobs):
    run = runs.enqueue(django_jobs.answer, [WORDS])
    django_jobs.answer.enqueue(run.id, WORDS)
    assert (text_of(run), fresh(run).epoch) == ("one two three", 1)


def test_a_task_of_a_run_that_was_removed_is_done(django_jobs):
    run = runs.start()
    run.listener.delete()
    assert not django_jobs.answer.enqueue(run.id, WORDS).errors


def late_after(seconds, run):
    time.sleep(seconds)
    late(run)


def test_a_task_waits_for_the_lease_of_a_producer_that_was_killed(django_jobs, settings):
    run = runs.start()
    with threads() as started:
        gone = runs.produce(run)
        out = gone.__enter__()
        out.write("one ")
        out.flush()
        started.start(late_after, 0.7, run)
        started.start(django_jobs.answer.enqueue, run.id, WORDS)
    assert text_of(run) == "one two three"
    with pytest.raises(runs.RunTaken):
        gone.__exit__(None, None, None)


def test_a_task_does_not_take_a_run_from_a_producer_that_is_alive(django_jobs, settings):
    settings.ERIC_SSE = {"RUNS_LEASE_S": 2.0}
    run = runs.start()
    with runs.produce(run) as out:
        out.write("mine")
        django_jobs.answer.enqueue(run.id, WORDS)
        out.write(" only")
    assert text_of(run) == "mine only"


def test_a_context_comes_before_the_output_and_another_attempt_continues(django_jobs):
    run = runs.start()
    django_jobs.with_context.enqueue(run.id, WORDS, ["ValueError"])
    assert fresh(run).status == "waiting"
    django_jobs.with_context.enqueue(run.id, WORDS, [])
    assert (fresh(run).status, text_of(run)) == ("finished", "one two three")


def test_a_run_whose_producer_raised_is_enqueued_again_and_ends_in_any_case(django_jobs):
    """No package tries it again: it would wait forever."""
    once = runs.enqueue(django_jobs.with_context, [WORDS, ["ValueError"]])
    assert (fresh(once).status, text_of(once)) == ("finished", "one two three")
    twice = runs.enqueue(django_jobs.with_context, [WORDS, ["ValueError", "ValueError"]])
    assert (fresh(twice).status, fresh(twice).epoch) == ("failed", 2)
    acoroutine = runs.enqueue(django_jobs.aanswer, [WORDS, ["ValueError"]])
    assert (fresh(acoroutine).status, text_of(acoroutine)) == ("finished", "one two three")


class Killed(BaseException):
    """The process has ended."""


@pytest.fixture
def killed_before_enqueueing(monkeypatch):
    """Return a context manager within which the process ends before it enqueues a task."""

    @contextmanager
    def killed():
        def end(run, its_task):
            raise Killed

        with monkeypatch.context() as patch, suppress(Killed):
            patch.setattr("eric_sse_django.runs.tasks._enqueue", end)
            yield

    return killed


def test_a_task_whose_process_was_killed_before_it_was_enqueued_is_enqueued_once(
    django_jobs, killed_before_enqueueing
):
    with killed_before_enqueueing():
        runs.enqueue(django_jobs.answer, [WORDS])
    run = Run.objects.get()
    runs.reap()
    assert fresh(run).status == "waiting"  # it may still be enqueued
    late(run)
    with threads() as started:
        for _ in range(2):
            started.start(runs.reap)
    found = fresh(run)
    assert (found.status, text_of(run), found.epoch) == ("finished", "one two three", 1)


def test_a_repetition_whose_process_was_killed_before_it_was_enqueued_is_enqueued(
    django_jobs, killed_before_enqueueing
):
    run = runs.start()
    task = {"name": "tests.runs.django_jobs.with_context", "args": [WORDS, []], "kwargs": {}}
    rows = Run.objects.filter(pk=run.pk)
    rows.update(status="running", epoch=1, lease_until=1, task={**task, "retries": 1})
    with killed_before_enqueueing():
        runs.reap()
    assert fresh(run).status == "waiting"
    late(run)
    runs.reap()
    assert (fresh(run).status, text_of(run)) == ("finished", "one two three")


def test_a_producer_that_was_killed_before_it_enqueued_its_next_attempt_is_repeated(
    django_jobs, monkeypatch
):
    enqueue, left = tasks._enqueue, [False, True]

    def end(run, its_task):
        if left.pop(0):
            raise Killed
        enqueue(run, its_task)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "_enqueue", end)
        with suppress(Killed):
            runs.enqueue(django_jobs.aanswer, [WORDS, ["ValueError"]])
    run = Run.objects.get()
    assert fresh(run).status == "waiting"
    late(run)
    runs.reap()
    assert (fresh(run).status, text_of(run)) == ("finished", "one two three")


def test_a_run_whose_task_was_enqueued_does_not_fail_by_the_database(
    django_jobs, monkeypatch, caplog
):
    def refuse(execute, sql, *args):
        if sql.startswith("UPDATE"):
            raise OperationalError("away")
        return execute(sql, *args)

    with ExitStack() as refusing:
        enqueued = lambda run, its_task: refusing.enter_context(  # noqa: E731
            connections[database()].execute_wrapper(refuse)
        )
        monkeypatch.setattr(tasks, "_enqueue", enqueued)
        run = runs.enqueue(django_jobs.answer, [WORDS])
    assert f"a run that was enqueued keeps its lease run={run.id}" in caplog.messages
    assert fresh(run).status == "waiting"
    monkeypatch.undo()
    late(run)
    runs.reap()  # enqueues it once more: it could also have been killed before the first time
    assert (fresh(run).status, text_of(run)) == ("finished", "one two three")


def test_a_task_that_is_enqueued_is_not_enqueued_again_while_it_waits(django_jobs, monkeypatch):
    enqueued = []
    monkeypatch.setattr(tasks, "_enqueue", lambda run, its_task: enqueued.append(run))
    run = runs.enqueue(django_jobs.answer, [WORDS])
    assert fresh(run).lease_until == 0
    runs.reap()
    assert (enqueued, fresh(run).status) == ([run], "waiting")


def test_a_run_that_is_failed_for_its_clients_is_not_enqueued_again(django_jobs):
    run = runs.enqueue(django_jobs.with_context, [WORDS, ["RunFailed"]])
    assert (fresh(run).status, fresh(run).epoch) == ("failed", 1)


def test_a_task_may_be_a_coroutine_function(django_jobs):
    run = runs.enqueue(django_jobs.aanswer, [WORDS])
    assert (fresh(run).status, text_of(run)) == ("finished", "one two three")


def test_a_task_without_runs_task_is_refused(database):
    with pytest.raises(TypeError, match=r"runs\.task"):
        runs.enqueue(print)
    assert not Run.objects.exists()


# Procrastinate -----------------------------------------------------------------------------


@pytest.fixture
def procrastinate(database):
    return tasks_of("procrastinate", "procrastinate_jobs")


def work(found):
    options = {"wait": False, "install_signal_handlers": False, "listen_notify": False}
    # A coroutine's queries are on this thread: another would leave its connection open.
    async_to_sync(found.app.run_worker_async)(**options)


@pytest.mark.parametrize("name", ["answer", "aanswer"])
def test_procrastinate_produces_the_run_that_enqueue_returns(procrastinate, name):
    with procrastinate.app.open():
        run = runs.enqueue(getattr(procrastinate, name), [WORDS])
        work(procrastinate)
    assert (fresh(run).status, text_of(run), fresh(run).result) == (
        *("finished", "one two three"),
        3,
    )


def test_an_attempt_of_procrastinate_continues_the_run(procrastinate):
    with procrastinate.app.open():
        run = runs.enqueue(procrastinate.retried, [WORDS, ["ValueError"]])
        work(procrastinate)
        while fresh(run).status == "waiting":
            work(procrastinate)
    assert (fresh(run).status, text_of(run)) == ("finished", "one two three")
