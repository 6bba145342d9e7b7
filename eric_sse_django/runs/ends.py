"""The ends of a run: the message of each, and the columns that it changes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django.utils import timezone

from eric_sse_django.log import payload_text
from eric_sse_django.runs import chunks, storable
from eric_sse_django.runs.exceptions import RunFailed, RunStopped
from eric_sse_django.runs.models import Run

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
    found = _ending(chunks.FINISHED, Status.FINISHED, {"result": result})
    # Of what clients get: the project's encoder may know more types than the column's.
    found.values["result"] = json.loads(found.payload)["result"]
    return found


def failed(text: str, error: str) -> Ending:
    """Return the end of a run that failed: a text for its clients, and one for operators."""
    return _ending(
        chunks.FAILED, Status.FAILED, {"error": storable.text(text)}, error=storable.text(error)
    )


def stopped() -> Ending:
    """Return the end of a run that was asked to stop."""
    return _ending(chunks.STOPPED, Status.STOPPED, {})


def lost(error: str = "") -> Ending:
    """Return the end of a run whose producer is gone: another one may continue it."""
    return _ending(chunks.LOST, Status.LOST, {}, error=storable.text(error))


def released(error: str, is_owed: bool = False) -> Ending:
    """
    Return the end of a producer, not of the run: another attempt follows, without a message.

    `is_owed`: this app enqueues its task, until which the run keeps its lease: see reaping.
    """
    values: dict[str, Any] = {"status": Status.WAITING.value, "error": storable.text(error)}
    return Ending("", "", values if is_owed else {**values, "lease_until": 0})


def given_up() -> Ending:
    """Return the end of a lease: the next reaper enqueues the run's task again."""
    return Ending("", "", {"lease_until": 0})


def full_text(error: BaseException) -> str:
    """Return an error's type and text, for operators."""
    return f"{type(error).__name__}: {error}"


def _ending(type: str, status: Status, payload: dict[str, Any], **values: Any) -> Ending:
    values |= {"status": status.value, "ended_at": timezone.now()}
    text = payload_text(payload)
    return Ending(type, text, values)


def is_stop(error: BaseException, run_id: str) -> bool:
    """Return whether an error is that this run was stopped."""
    return isinstance(error, RunStopped) and error.run_id == run_id


def of_error(error: BaseException, run_id: str) -> Ending:
    """Return the end of a run whose producer raised this."""
    if is_stop(error, run_id):
        return stopped()
    full = full_text(error)
    if isinstance(error, RunFailed):
        return failed(error.text, error.text)
    return failed(FAILED_TEXT, full) if isinstance(error, Exception) else lost(full)
