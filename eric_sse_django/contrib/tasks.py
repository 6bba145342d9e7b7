"""
Tasks of Django 6.0, or of the package django-tasks: messages are delivered when a task ends.

    from eric_sse_django.contrib.tasks import install, report_states

    class ShopConfig(AppConfig):
        def ready(self):
            install()
            report_states("tasks")

As with Celery (eric_sse_django.contrib.celery), publishing works without it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from eric_sse_django import notifier
from eric_sse_django.database.arguments import channel_id_of
from eric_sse_django.shortcuts import publish

logger = logging.getLogger(__name__)

# Seconds that the end of a task waits for the order of its messages. 2 ms were measured; while
# the database is unavailable, the task must end all the same.
MAX_FLUSH_S = 2.0
# Where the signals are, newest first.
PACKAGES = ("django.tasks", "django_tasks")


class StateReport:
    """
    Publishes what becomes of tasks: the type is "task", the payload has id, name and state.

    Neither arguments nor results, which may be secret. What fails is logged: a task never fails
    by its report.
    """

    def __init__(self, channel: Any, names: Collection[str] | None = None) -> None:
        if isinstance(names, str):
            raise TypeError(f"names is {names!r}: give a list of names, [{names!r}].")
        self.channel = channel_id_of(channel)
        self._names = None if names is None else frozenset(names)

    @property
    def key(self) -> tuple[Any, ...]:
        """What two reports have in common if one is enough."""
        return (self.channel, self._names)

    def publish(self, state: str, task_id: str, name: str) -> None:
        """Publish the state of a task, if its name is one of those that are reported."""
        if self._names is not None and name not in self._names:
            return
        try:
            publish(self.channel, "task", {"id": str(task_id), "name": name, "state": state})
        except Exception:  # the loop that owns it is the worker's
            logger.exception("the state of a task cannot be published channel=%s", self.channel)


def install() -> None:
    """Flush at the end of each task, in the process that runs it. Call it in ready()."""
    _signals().task_finished.connect(flush, dispatch_uid="eric_sse_django")


def flush(**_: Any) -> None:
    """Wait until what this process has published is in the log's order, MAX_FLUSH_S at most."""
    notifier.flush(MAX_FLUSH_S)


def report_states(channel: Any, *, names: Collection[str] | None = None) -> StateReport:
    """
    Publish to a channel when tasks are enqueued, start and end: StateReport.

    `names` are dotted paths of task functions, None for all. Returns the report; keep it.
    """
    report = StateReport(channel, names)

    def changed(sender: Any, task_result: Any, **_: Any) -> None:
        report.publish(str(task_result.status), task_result.id, task_result.task.module_path)

    signals = _signals()
    for signal in (signals.task_enqueued, signals.task_started, signals.task_finished):
        signal.connect(changed, weak=False, dispatch_uid=("eric_sse_django", report.key))
    return report


def _signals() -> Any:
    for package in PACKAGES:
        if find_spec(package) is not None:
            return import_module(f"{package}.signals")
    raise ImportError(
        "There are no tasks: use Django 6.0 or newer, or install the package django-tasks."
    )
