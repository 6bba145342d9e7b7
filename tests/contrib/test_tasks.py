"""Tasks of Django 6.0, or of django-tasks: messages are delivered when the task ends."""

from importlib import import_module
from importlib.util import find_spec

import pytest
from django.db import transaction

from eric_sse_django.contrib import tasks as contrib
from eric_sse_django.contrib.tasks import install, report_states
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import publish
from tests.databases import sqlite_only

PACKAGE = next((each for each in contrib.PACKAGES if find_spec(each) is not None), None)

pytestmark = [
    sqlite_only,
    pytest.mark.skipif(PACKAGE is None, reason="neither Django 6.0 nor django-tasks"),
]


def pay(number):
    with transaction.atomic():
        for _ in range(number):
            publish("orders", "paid", "secret")


def fail():
    raise ValueError("secret")


@pytest.fixture
def task(settings):
    """Return the decorator of tasks, which run at once; all signals are as before afterwards."""
    settings.TASKS = {"default": {"BACKEND": f"{PACKAGE}.backends.immediate.ImmediateBackend"}}
    signals = import_module(f"{PACKAGE}.signals")
    found = [signals.task_enqueued, signals.task_started, signals.task_finished]
    before = [list(signal.receivers) for signal in found]
    yield import_module(PACKAGE).task
    for signal, receivers in zip(found, before, strict=True):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


def test_a_task_that_has_ended_has_given_its_messages_their_order(channel, task):
    install()
    install()
    task(pay).enqueue(50)
    assert QueuedMessage.objects.count() == 50
    assert not QueuedMessage.objects.filter(position=None).exists()


def test_the_states_of_tasks_are_published_without_arguments(channel, listener, taken, task):
    report_states("orders", names=[f"{__name__}.pay", f"{__name__}.fail"])
    task(pay).enqueue(1)
    task(fail).enqueue()
    found = taken(channel, listener)
    states = [payload["state"] for kind, payload in found if kind == "task"]
    assert states[-1] == "FAILED"
    assert states.count("RUNNING") == 2
    assert states.count("SUCCESSFUL") == 1
    assert ("paid", "secret") in found
    assert "secret" not in str([payload for kind, payload in found if kind == "task"])
    names = {payload["name"] for kind, payload in found if kind == "task"}
    assert names == {f"{__name__}.pay", f"{__name__}.fail"}


def test_reports_of_other_tasks_add_to_each_other(channel, listener, taken, task):
    report_states("orders", names=[f"{__name__}.pay"])
    report_states("orders", names=[f"{__name__}.fail"])
    task(pay).enqueue(0)
    task(fail).enqueue()
    names = {payload["name"] for _, payload in taken(channel, listener)}
    assert names == {f"{__name__}.pay", f"{__name__}.fail"}


def test_without_tasks_the_error_names_what_to_install(database, monkeypatch):
    monkeypatch.setattr(contrib, "PACKAGES", ("django_no_tasks",))
    with pytest.raises(ImportError, match="install the package django-tasks"):
        install()
