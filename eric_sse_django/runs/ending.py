"""Ending a run from outside of its producer, and asking it to stop."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F, Q

from eric_sse_django import log, notifier
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.log import Draft, lifetime_of
from eric_sse_django.models import Listener
from eric_sse_django.runs import writer
from eric_sse_django.runs.ends import Ending, failed, finished, stopped
from eric_sse_django.runs.models import FINAL, Run

Status = Run.Status


@has_twin
def finish(run: Run, result: Any = None) -> bool:
    """
    Finish a run from outside of produce(); return whether it had not ended before.

    Its producer, if it has one, writes nothing more.
    """
    return bool(end(run, finished(result)))


@has_twin
def fail(run: Run, error: str) -> bool:
    """As finish(): fail a run, with a text that its clients may read."""
    return bool(end(run, failed(error, error)))


@has_twin
def stop(run: Run) -> bool:
    """
    Ask a run to stop; return whether it was still to end.

    One that waits, or was lost, is stopped at once. The producer of a running one is notified
    within a quarter of a second, or at its next flush. When the caller's transaction commits.
    """
    with transaction.atomic(using=log.database()):
        idle = Q(status__in=[Status.WAITING, Status.LOST])
        if end(run, stopped(), idle):
            return True
        rows = Run.objects.filter(pk=run.pk, status=Status.RUNNING)
        was_running = bool(rows.update(stop_requested=True))
        if was_running:
            run.stop_requested = True
            key = run.pk
            # The producer may be in this process.
            transaction.on_commit(lambda: writer.look(key), using=log.database(), robust=True)
    return was_running


afinish, afail, astop = twin_of_function(finish), twin_of_function(fail), twin_of_function(stop)


def end(run: Run, ending: Ending, where: Q | None = None) -> int:
    """End a run that has not ended, and that is so as `where` states; return how many: 0 or 1."""
    rows = Run.objects.filter(pk=run.pk).exclude(status__in=FINAL)
    with transaction.atomic(using=log.database()):
        # A lost run's producer may continue, if no other one has taken the run.
        fenced = {} if ending.values["status"] == Status.LOST else {"epoch": F("epoch") + 1}
        count = (rows if where is None else rows.filter(where)).update(**ending.values, **fenced)
        if count and ending.type:
            notifier.publish([message(run, ending.type, ending.payload)])
    if count:
        for name, value in ending.values.items():
            setattr(run, name, value)
    return count


def on_run_deleted(instance: Run, origin: object = None, **_: object) -> None:
    """Remove the listener of a run that is deleted, whose streams end. For post_delete."""
    # Otherwise the run is deleted with its listener.
    if getattr(origin, "model", type(origin)) is Run:
        Listener.objects.filter(pk=instance.pk).delete()


def message(run: Run, type: str, payload: str) -> Draft:
    """Return the draft of a message to a run."""
    channel = run.listener.channel
    return Draft(channel.pk, *lifetime_of(channel, None), type, payload, run.pk)
