"""
Runs that are produced by tasks: of django.tasks, Celery and procrastinate.

    @shared_task(acks_late=True, reject_on_worker_lost=True)
    @runs.task(retries=2)
    def answer(out, prompt):
        for token in out.rest_of(model.stream(prompt)):
            out.write(token)

    run = runs.enqueue(answer, [prompt], owner=request.user)

The run is made when the task is enqueued. Each attempt is the run's next producer, and continues
at `out.index`. None of these packages is imported here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError, transaction
from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.log import database
from eric_sse_django.runs.ending import fail
from eric_sse_django.runs.ends import FAILED_TEXT
from eric_sse_django.runs.exceptions import RunEnded, RunFailed, RunTaken
from eric_sse_django.runs.leasing import is_free, lease_end
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.producer import Out, aproduce, produce
from eric_sse_django.runs.starting import start_or_get

logger = logging.getLogger(__name__)

# Seconds between two checks whether the lease of another producer is over.
FREE_CHECK_S = 0.5
# Times RUNS_LEASE_S after which a producer that still has its lease is alive.
ALIVE_AFTER = 1.5
# Exceptions of Celery by which a task is not over.
_CELERY = ("Retry", "Reject", "Ignore")


def task(function: Any = None, *, retries: int = 0) -> Any:
    """
    Return a function for a task that gets a run's id, and produces it by `function(out, …)`.

    Put the decorator of django.tasks, Celery or procrastinate over this one. A first argument
    that the package passes (`bind`, `takes_context`, `pass_context`) comes before `out`. What the
    function returns is the run's result. A coroutine function gets an AsyncOut.

    An exception fails the run, unless another attempt follows. A run of enqueue() whose producer
    was killed, or raised another exception than RunFailed, is enqueued again, `retries` times at
    most; attempts that Celery or procrastinate is known to make are left to them. A run that you
    have started yourself waits: for the `retries` that the package is to make. A run that was
    stopped meanwhile, has ended, or is produced by another worker that is alive, is not produced.
    """
    if function is None:
        return partial(task, retries=retries)
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def work(*args: Any, **kwargs: Any) -> None:
            await _Attempt(function, retries, args, kwargs).aproduce()

    else:

        @wraps(function)
        def work(*args: Any, **kwargs: Any) -> None:
            _Attempt(function, retries, args, kwargs).produce()

    work.run_retries = retries  # type: ignore[attr-defined]
    return work


@has_twin
def enqueue(
    its_task: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Run:
    """
    Start a run, and enqueue the task that produces it when the caller's transaction commits.

    `its_task` has task() under the decorator of its package. `options` are start()'s: with the
    `key` of a run that exists nothing is enqueued. Raises what start() raises, and TypeError.
    """
    function = _function_of(its_task)
    name = f"{function.__module__}.{function.__qualname__}"
    with transaction.atomic(using=database()):
        run, is_new = start_or_get(**options)
        if is_new:
            run.task = {
                "name": name,
                "args": list(args),
                "kwargs": dict(kwargs or {}),
                "retries": function.run_retries,
            }
            Run.objects.filter(pk=run.pk).update(task=run.task, lease_until=lease_end())
            transaction.on_commit(partial(_send_or_fail, run, its_task), using=database())
    return run


aenqueue = twin_of_function(enqueue)


def enqueue_again(run: Run) -> bool:
    """Enqueue the task of a run again, for its next producer; return whether it has one."""
    if run.task is None:
        return False
    _send(run, import_string(run.task["name"]))
    return True


def _function_of(its_task: Any) -> Any:
    """Return the function of task() in a package's task. Raises TypeError."""
    for name in ("_orig_run", "run", "func"):
        function = getattr(its_task, name, None)
        if hasattr(function, "run_retries"):
            return function
    raise TypeError(
        f"{its_task!r} is not a task with runs.task: put that under its package's decorator."
    )


def _send_or_fail(run: Run, its_task: Any) -> None:
    try:
        _send(run, its_task)
    except Exception:
        # Without this it would wait for a worker forever.
        fail(run, FAILED_TEXT)
        raise


def _send(run: Run, its_task: Any) -> None:
    """
    Enqueue a package's task with the id of its run, and the arguments.

    Until then the run has a lease: if this process is killed before, reap() enqueues it. It may
    then be enqueued twice: only one of the tasks produces the run.
    """
    _enqueue(run, its_task)
    try:
        Run.objects.filter(pk=run.pk, status=Run.Status.WAITING).update(lease_until=0)
    except DatabaseError:
        # The queue has the task: this must not fail its run.
        logger.exception("a run that was enqueued keeps its lease run=%s", run.id)


def _enqueue(run: Run, its_task: Any) -> None:
    stored: dict[str, Any] = run.task or {}
    args, kwargs = stored["args"], stored["kwargs"]
    if hasattr(its_task, "apply_async"):  # Celery
        its_task.apply_async([run.id, *args], kwargs)
    elif hasattr(its_task, "enqueue"):  # django.tasks
        its_task.enqueue(run.id, *args, **kwargs)
    elif hasattr(its_task, "defer"):  # procrastinate, whose tasks have no positional arguments
        names = _names_of(_function_of(its_task), getattr(its_task, "pass_context", False))
        its_task.defer(run_id=run.id, **dict(zip(names, args, strict=False)), **kwargs)
    else:
        raise TypeError(f"{its_task!r} is not a task of django.tasks, Celery or procrastinate.")


def _names_of(function: Any, has_context: bool) -> list[str]:
    """Return the names of a function's arguments, without those that are not enqueued."""
    return list(inspect.signature(function).parameters)[1 + has_context :]


# An attempt -----------------------------------------------------------------------------


class _Attempt:
    """One call of a task: its run, and what its function gets."""

    def __init__(
        self, function: Callable[..., Any], retries: int, args: Sequence[Any], kwargs: Any
    ) -> None:
        # The run's id is the first text, or named: what comes before it is the package's.
        self.context = [*args[:1]] if args and not isinstance(args[0], str) else []
        rest = list(args[len(self.context) :])
        self.kwargs = dict(kwargs)
        self.run_id: str = rest.pop(0) if rest else self.kwargs.pop("run_id")
        self.args = rest
        self.function, self.retries = function, retries

        self.run: Run | None = None
        self.is_repeated = False  # here, and not by the package
        self.until = time.monotonic() + ALIVE_AFTER * conf.get("RUNS_LEASE_S")

    def produce(self) -> None:
        while self._must_wait():
            time.sleep(FREE_CHECK_S)
        if self.run is None:
            return
        try:
            with self._unless_others_have_it(), produce(self.run) as out:
                self._prepare(out)
                self._keep(out, self.function(*self.context, out, *self.args, **self.kwargs))
        finally:
            if self.is_repeated:
                on_lost(self.run)

    async def aproduce(self) -> None:
        while await sync_to_async(self._must_wait)():  # noqa: ASYNC110 - for a row
            await asyncio.sleep(FREE_CHECK_S)
        if self.run is None:
            return
        try:
            with self._unless_others_have_it():
                async with aproduce(self.run) as out:
                    self._prepare(out)
                    found = await self.function(*self.context, out, *self.args, **self.kwargs)
                    self._keep(out, found)
        finally:
            if self.is_repeated:
                await sync_to_async(on_lost)(self.run)

    def _must_wait(self) -> bool:
        """
        Find the run, None if this task must not produce it; return whether to wait for its lease.

        A package may repeat a task whose worker was killed just now, or one whose worker is
        alive: which of both, shows when the lease would be over.
        """
        self.run = Run.objects.filter(name=self.run_id).first()
        if self.run is None or self.run.has_ended:
            self._skip("it was removed" if self.run is None else f"it is {self.run.status}")
            return False
        if Run.objects.filter(is_free(), pk=self.run.pk).exists():
            return False
        if time.monotonic() < self.until:
            return True
        self._skip("another producer has it")
        return False

    def _skip(self, why: str) -> None:
        self.run = None
        logger.info("a task does not produce its run, %s run=%s", why, self.run_id)

    @contextmanager
    def _unless_others_have_it(self) -> Iterator[None]:
        """Ignore that the run was taken, stopped or ended by others: then the task is done."""
        try:
            yield
        except (RunTaken, RunEnded) as error:
            if error.run_id != self.run_id:
                raise
            logger.info("a task does not produce its run any more run=%s: %s", self.run_id, error)

    def _prepare(self, out: Out) -> None:
        out.may_retry, out.owes_task = self._may_retry, lambda: self.is_repeated

    @staticmethod
    def _keep(out: Out, result: Any) -> None:
        if result is not None:
            out.result = result

    def _may_retry(self, error: BaseException) -> bool:
        """Return whether another attempt follows this error."""
        if type(error).__module__ == "celery.exceptions" and type(error).__name__ in _CELERY:
            return True
        if _celery_retries(error) or self._procrastinate_does(error):
            return True
        if self.run is None or self.run.task is None:
            return self.run is not None and self.run.epoch <= self.retries
        self.is_repeated = self.run.is_repeated and not isinstance(error, RunFailed)
        return self.is_repeated

    def _procrastinate_does(self, error: BaseException) -> bool:
        """Return whether procrastinate makes another attempt, as far as its context shows it."""
        for context in self.context:
            job, its_task = getattr(context, "job", None), getattr(context, "task", None)
            decide = getattr(its_task, "get_retry_exception", None)
            if job is not None and decide is not None:
                return decide(error, job) is not None
        return False


def _celery_retries(error: BaseException) -> bool:
    """Return whether Celery makes another attempt by itself: `autoretry_for`."""
    current = getattr(sys.modules.get("celery"), "current_task", None)
    if not current:
        return False
    kinds = tuple(getattr(current, "autoretry_for", ()))
    excluded = tuple(getattr(current, "dont_autoretry_for", ()))
    most = getattr(current, "retry_kwargs", {}).get("max_retries", current.max_retries)
    is_left = most is None or current.request.retries < most
    return is_left and isinstance(error, kinds) and not isinstance(error, excluded)


# Runs whose producer was killed ----------------------------------------------------------


def on_lost(run: Run) -> None:
    """Enqueue the task of a run again, whose producer is gone; fail the run if that is refused."""
    try:
        enqueue_again(run)
    except Exception:
        logger.exception("the task of a run cannot be enqueued again run=%s", run.id)
        fail(run, FAILED_TEXT)
