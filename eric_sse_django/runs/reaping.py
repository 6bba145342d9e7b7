"""Runs whose producer is gone: found by the lease that it no longer renews; and taking over."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.log import database, log_dialect
from eric_sse_django.runs.ending import end
from eric_sse_django.runs.ends import lost, released, stopped
from eric_sse_django.runs.exceptions import RunEnded
from eric_sse_django.runs.leasing import copy, is_late, lease_end, refusal
from eric_sse_django.runs.models import Run

Status = Run.Status
# The error of a run whose lease is over.
GONE = "Its producer is gone."
# Runs that are read together.
REAPED_AT_ONCE = 100
# Leases this much longer than any can be were given before the database's clock was set back.
MAX_LEASES_AHEAD = 10


def interval_s() -> float:
    """Return the seconds between two calls of reap() in each process."""
    return float(conf.get("RUNS_LEASE_S") / 2)


def reap() -> int:
    """
    End the runs whose producer's lease is over: return how many.

    They are lost, or stopped if they were asked to stop. Streams get the message of that. Also
    enqueues tasks that are due. Three queries, if there are none.
    """
    _shorten_leases()
    _enqueue_due()
    count, seen = 0, 0
    while True:
        rows = Run.objects.filter(is_late(), status=Status.RUNNING, pk__gt=seen).order_by("pk")
        page = list(rows[:REAPED_AT_ONCE])
        count += sum(_reap(run) for run in page)
        if len(page) < REAPED_AT_ONCE:
            return count
        seen = page[-1].pk


def reap_one(run: Run) -> None:
    """Read a run's row again, and end the run if its lease is over. Raises RunEnded."""
    rows = Run.objects.filter(pk=run.pk).annotate(is_late=RawSQL(_is_late(), []))
    found = rows.first()
    if found is None:
        raise RunEnded(run.id, "removed")
    copy(found, run)
    if run.status == Status.RUNNING.value and found.is_late:
        _reap(run)


def _is_late() -> str:
    return f"lease_until < {log_dialect().clock_ms}"


def _reap(run: Run) -> int:
    ending = released(GONE, is_owed=True) if run.is_repeated else lost(GONE)
    if run.stop_requested:
        ending = stopped()
    with transaction.atomic(using=database()):
        count = end(run, ending, Q(status=Status.RUNNING) & is_late())
        if count and ending.values["status"] == Status.WAITING:
            Run.objects.filter(pk=run.pk).update(lease_until=lease_end())
            transaction.on_commit(lambda: on_lost(run), using=database(), robust=True)
    return count


def _enqueue_due() -> None:
    """
    Enqueue the tasks whose process was killed after it had committed that they are due.

    A run that waits has a lease for as long as that may take, and none afterwards.
    """
    due = Run.objects.filter(is_late(), status=Status.WAITING, lease_until__gt=0)
    for run in due.filter(task__isnull=False)[:REAPED_AT_ONCE]:
        if due.filter(pk=run.pk).update(lease_until=lease_end()):  # one process does it
            on_lost(run)


def on_lost(run: Run) -> None:
    """Enqueue the task of a run again. Not imported before: tasks are above."""
    import_string("eric_sse_django.runs.tasks.on_lost")(run)


def _shorten_leases() -> None:
    """Let no lease last for as long as the database's clock was set back."""
    lease_ms = int(conf.get("RUNS_LEASE_S") * 1_000)
    beyond = RawSQL(f"{log_dialect().clock_ms} + %s", [MAX_LEASES_AHEAD * lease_ms])
    rows = Run.objects.filter(status__in=[Status.RUNNING, Status.WAITING], lease_until__gt=beyond)
    rows.update(lease_until=lease_end())


@has_twin
def take_over(run: Run) -> Run:
    """
    Take a run from its producer, whose next flush writes nothing; return it, for produce().

    It waits for its producer again, and its output continues at the same index. Raises
    RunStopped if it was asked to stop, and RunEnded.
    """
    rows = Run.objects.filter(pk=run.pk)
    free = rows.filter(
        status__in=[Status.WAITING, Status.RUNNING, Status.LOST], stop_requested=False
    )
    with transaction.atomic(using=database()):
        taken = free.update(
            status=Status.WAITING, epoch=F("epoch") + 1, lease_until=0, producer="", ended_at=None
        )
        found = rows.first()
    if found is None:
        raise RunEnded(run.id, "removed")
    copy(found, run)
    if not taken:
        raise refusal(found)
    return run


atake_over = twin_of_function(take_over)
