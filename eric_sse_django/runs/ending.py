"""How a run ends: by its producer, by others, by a request to stop; and the message of its end."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.log import Draft, lifetime_of, payload_text
from eric_sse_django.runs import chunks
from eric_sse_django.runs.exceptions import RunFailed, RunStopped
from eric_sse_django.runs.models import FINAL, Run

Status = Run.Status
# What clients read of an error that was not raised for them: its text may have secrets.
FAILED_TEXT = "The run failed."


class Ending(NamedTuple):
    """The message of a run's end, and the columns that it changes."""

    type: str
    payload: str
    values: dict[str, Any]


def finished(result: Any = None) -> Ending:
    """Return the end of a run that has a result. Raises InvalidMessageFormat."""
    return _ending(chunks.FINISHED, Status.FINISHED, {"result": result}, result=result)


def failed(text: str, error: str) -> Ending:
    """Return the end of a run that failed: a text for its clients, and one for operators."""
    return _ending(chunks.FAILED, Status.FAILED, {"error": text}, error=error)


def stopped() -> Ending:
    """Return the end of a run that was asked to stop."""
    return _ending(chunks.STOPPED, Status.STOPPED, {})


def lost(error: str = "") -> Ending:
    """Return the end of a run whose producer is gone: another one may continue it."""
    return _ending(chunks.LOST, Status.LOST, {}, error=error)


def _ending(type: str, status: Status, payload: dict[str, Any], **values: Any) -> Ending:
    values |= {"status": status.value, "ended_at": timezone.now()}
    return Ending(type, payload_text(payload), values)


def is_stop(error: BaseException, run_id: str) -> bool:
    """Return whether an error says that this run was stopped."""
    return isinstance(error, RunStopped) and error.run_id == run_id


def of_error(error: BaseException, run_id: str) -> Ending:
    """Return the end of a run whose producer raised this."""
    if is_stop(error, run_id):
        return stopped()
    full = f"{type(error).__name__}: {error}"
    if isinstance(error, RunFailed):
        return failed(error.text, error.text)
    return failed(FAILED_TEXT, full) if isinstance(error, Exception) else lost(full)


# By others than its producer ------------------------------------------------------------


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

    One that waits, or was lost, is stopped at once. The producer of a running one hears it
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
    return was_running


afinish, afail, astop = twin_of_function(finish), twin_of_function(fail), twin_of_function(stop)


def end(run: Run, ending: Ending, where: Q | None = None) -> int:
    """End a run that has not ended, and that is so as `where` states; return how many: 0 or 1."""
    rows = Run.objects.filter(pk=run.pk).exclude(status__in=FINAL)
    with transaction.atomic(using=log.database()):
        count = (rows if where is None else rows.filter(where)).update(
            epoch=F("epoch") + 1, **ending.values
        )
        if count:
            notifier.publish([message(run, ending.type, ending.payload)])
    if count:
        for name, value in ending.values.items():
            setattr(run, name, value)
    return count


def message(run: Run, type: str, payload: str) -> Draft:
    """Return the draft of a message to a run."""
    channel = run.listener.channel
    return Draft(channel.pk, *lifetime_of(channel, None), type, payload, run.pk)
