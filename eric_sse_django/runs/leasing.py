"""Taking the lease of a run, and with it the next epoch: one producer at a time has it."""

from __future__ import annotations

import os
import socket
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.utils import timezone

from eric_sse_django import conf
from eric_sse_django.log import database, lifetime_of, log_dialect
from eric_sse_django.runs.exceptions import RunEnded, RunStopped, RunTaken
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.output import Held


def take(run: Run) -> Held:
    """
    Take the lease of a run that waits, or that was lost; update `run`.

    Raises RunTaken while another producer's lease lasts, RunStopped and RunEnded.
    """
    rows = Run.objects.filter(pk=run.pk)
    with transaction.atomic(using=database()):
        taken = rows.filter(is_free(), stop_requested=False).update(
            status=Run.Status.RUNNING,
            epoch=F("epoch") + 1,
            producer=name_of_process(),
            lease_until=lease_end(),
            started_at=Coalesce("started_at", timezone.now()),
            ended_at=None,
            error="",
        )
        found = rows.first()
    if found is None:
        raise RunEnded(run.id, "removed")
    copy(found, run)
    if not taken:
        raise refusal(found)
    channel = found.listener.channel
    kept_s, perishable = lifetime_of(channel, None)
    return Held(
        *(found.pk, found.id, channel.pk, found.epoch, found.next_index, kept_s, perishable),
        stops=found.stop_requested,
        is_repeated=found.is_repeated,
        upstream=found.upstream,
    )


def is_free() -> Q:
    """Return the condition of runs that a producer may take."""
    waits = Q(status__in=[Run.Status.WAITING, Run.Status.LOST])
    return waits | (Q(status=Run.Status.RUNNING) & is_late())


def is_late() -> Q:
    """Return the condition of runs whose lease is over."""
    return Q(lease_until__lt=RawSQL(log_dialect().clock_ms, []))


def lease_end() -> Any:
    """Return the end of a lease that begins now, by the database's clock."""
    return RawSQL(f"{log_dialect().clock_ms} + %s", [int(conf.get("RUNS_LEASE_S") * 1_000)])


def refusal(run: Run) -> RunTaken | RunEnded:
    """Return why a run cannot be produced."""
    if run.status == Run.Status.STOPPED.value or (run.stop_requested and not run.has_ended):
        return RunStopped(run.id)
    return RunEnded(run.id, run.status) if run.has_ended else RunTaken(run.id, run.producer)


def copy(found: Run, run: Run) -> None:
    """Give a run the values that another object of its row has."""
    for column in Run._meta.concrete_fields:
        setattr(run, column.attname, getattr(found, column.attname))


def name_of_process() -> str:
    """Return the name of this process, as a producer."""
    return f"{socket.gethostname()}:{os.getpid()}"[:255]
