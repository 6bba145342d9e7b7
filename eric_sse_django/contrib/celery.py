"""
Celery: what a task publishes is delivered when the task ends, also by workers that fork and end.

    from celery import Celery
    from eric_sse_django.contrib.celery import install

    app = Celery("shop")
    install()

Publishing works in tasks without it: a message is one INSERT, and streams of other processes find
it within POLL_INTERVAL_S at the latest. With it a task that has ended has also given positions to
its messages and woken their streams, and a worker process closes its threads and connections
before it ends (`worker_max_tasks_per_child`), which Celery does without Python's exit handlers.
"""

from __future__ import annotations

from typing import Any

from celery import signals, states

from eric_sse_django import wakes
from eric_sse_django.closing import close_all
from eric_sse_django.contrib.tasks import StateReport, flush

# The dispatch_uid of receivers: install() may be called twice.
UID = "eric_sse_django"


def install() -> None:
    """Connect to Celery's signals. Call it where the Celery app is created."""
    signals.task_postrun.connect(flush, dispatch_uid=UID)
    signals.worker_process_shutdown.connect(close, dispatch_uid=UID)
    signals.worker_shutdown.connect(close, dispatch_uid=UID)


def close(**_: Any) -> None:
    """Flush, then end the threads and connections of this process."""
    flush()
    wakes.flush()
    close_all()


def report_states(channel: Any, *, names: Any = None) -> StateReport:
    """
    Publish to a channel when tasks start, succeed, are retried and fail: StateReport.

    `names` are the names of tasks, None for all. Returns the report; keep it.
    """
    report = StateReport(channel, names)

    def started(task_id: str, task: Any, **_: Any) -> None:
        report.publish(states.STARTED, task_id, task.name)

    def ended(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
        report.publish(state or states.FAILURE, task_id, task.name)
        flush()  # the other receiver of this signal may have been called before

    signals.task_prerun.connect(started, weak=False, dispatch_uid=(UID, report.key, "started"))
    signals.task_postrun.connect(ended, weak=False, dispatch_uid=(UID, report.key, "ended"))
    return report
