"""Celery: messages of tasks are delivered when the task ends, also by processes that fork."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery, signals
from django.db import transaction

from eric_sse_django import notifier
from eric_sse_django.contrib.celery import install, report_states
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import publish
from tests import databases
from tests.contrib.waiting import until
from tests.databases import sqlite_only
from tests.patience import PATIENCE_S

pytestmark = sqlite_only


@pytest.fixture
def app():
    """Return a Celery app that runs tasks at once, in this process, and sends all its signals."""
    app = Celery("shop", set_as_current=False)
    app.conf.task_always_eager = True
    names = ("task_prerun", "task_postrun", "worker_process_shutdown", "worker_shutdown")
    before = {name: list(getattr(signals, name).receivers or ()) for name in names}
    yield app
    for name, receivers in before.items():
        getattr(signals, name).receivers = receivers


def unplaced():
    return QueuedMessage.objects.filter(position=None).count()


def test_a_task_that_has_ended_has_given_its_messages_their_order(channel, app):
    install()
    install()

    @app.task
    def pay():
        with transaction.atomic():
            for number in range(50):
                publish("orders", "paid", number)

    pay.delay()
    assert QueuedMessage.objects.count() == 50
    assert unplaced() == 0


def test_the_states_of_tasks_are_published_without_arguments(channel, listener, taken, app):
    install()
    report_states("orders", names=["pay", "fail"])

    @app.task(name="pay")
    def pay(secret):
        publish("orders", "paid")

    @app.task(name="fail")
    def fail(secret):
        raise ValueError(secret)

    @app.task(name="other")
    def other():
        pass

    pay.delay("secret")
    fail.delay("secret")
    other.delay()
    found = taken(channel, listener)
    assert [(kind, payload and payload["state"]) for kind, payload in found] == [
        ("task", "STARTED"),
        ("paid", None),
        ("task", "SUCCESS"),
        ("task", "STARTED"),
        ("task", "FAILURE"),
    ]
    assert found[0][1]["name"] == "pay"
    assert "secret" not in str(found)


def test_reports_of_other_tasks_add_to_each_other(channel, listener, taken, app):
    for names in (["pay"], ["refund"], ["pay"]):  # the same one twice counts once
        report_states("orders", names=names)

    def work():
        pass

    for name in ("pay", "refund"):
        app.task(work, name=name).delay()
    names = [payload["name"] for _, payload in taken(channel, listener)]
    assert names == ["pay", "pay", "refund", "refund"]
    with pytest.raises(TypeError, match="give a list"):
        report_states("orders", names="pay")


def test_a_report_that_cannot_be_published_fails_no_task(channel, app, caplog):
    report_states("unknown")

    @app.task
    def pay():
        return 7

    assert pay.delay().get() == 7
    assert "the state of a task cannot be published channel=unknown" in caplog.text


def test_a_worker_process_that_ends_closes_its_threads(channel, app):
    install()
    channel.broadcast_many([])
    publish("orders", "paid")
    notifier.ring()
    signals.worker_process_shutdown.send(sender=None, pid=1, exitcode=0)
    assert notifier.started() is None


@pytest.mark.live
def test_a_real_worker_that_forks_delivers_and_loses_nothing(database, tmp_path):
    """Its processes end after each task by os._exit(), which runs no handlers of Python."""
    orders, tasks = (DatabaseChannel.create(name) for name in ("orders", "tasks"))
    broker, control = tmp_path / "broker", tmp_path / "control"
    broker.mkdir()
    options = {"data_folder_in": str(broker), "data_folder_out": str(broker)}
    options["control_folder"] = str(control)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "ERIC_SSE_TEST_DB": databases.address("default"),
        "ERIC_SSE_TEST_BROKER": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    sender = Celery("shop", broker="filesystem://", set_as_current=False)
    sender.conf.broker_transport_options = options
    sender.conf.task_ignore_result = True
    for number in range(2):
        sender.send_task("shop.pay", [number])
    sender.send_task("shop.fail")
    sender.close()
    command = [
        *(sys.executable, "-m", "celery", "-A", "tests.contrib.celery_app", "worker"),
        *("--concurrency", "2", "--max-tasks-per-child", "1", "--without-gossip"),
        *("--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
    ]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True)
    try:
        placed = QueuedMessage.objects.exclude(position=None)
        until(lambda: placed.count() == 8, lambda: process.poll() is None)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
    assert unplaced() == 0
    rows = QueuedMessage.objects.filter(channel=orders.row)
    assert sorted(rows.values_list("payload", flat=True)) == ["0", "1"]
    states = QueuedMessage.objects.filter(channel=tasks.row).values_list("payload", flat=True)
    assert sum("FAILURE" in state for state in states) == 1
    assert sum("SUCCESS" in state for state in states) == 2
