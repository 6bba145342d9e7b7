"""The logging handler: it publishes records, and never waits, raises or causes its own records."""

import logging
import logging.config
import os
import subprocess
import sys
import threading
import time

import pytest
from django.db import connection, transaction

from eric_sse_django import notifier
from eric_sse_django.contrib import logging as contrib
from eric_sse_django.contrib.logging import ChannelHandler
from tests.databases import sqlite_only
from tests.patience import PATIENCE_S

pytestmark = sqlite_only


@pytest.fixture
def handler(channel):
    made = ChannelHandler("orders", burst=1_000)
    yield made
    made.close()
    made._workers.join(PATIENCE_S)


@pytest.fixture
def log(handler):
    """Return a logger with the handler alone."""
    made = logging.Logger("shop.views", logging.DEBUG)  # noqa: LOG001 - only this test has it
    made.addHandler(handler)
    return made


def test_a_record_is_published_with_its_level_as_the_type(log, handler, channel, listener, taken):
    log.warning("order %s is late", 7)
    handler.flush()
    [(kind, payload)] = taken(channel, listener)
    assert kind == "warning"
    assert payload["message"] == "order 7 is late"
    assert payload["logger"] == "shop.views"
    assert payload["level"] == "WARNING"
    assert payload["process"] == os.getpid()
    assert payload["where"].startswith("test_logging.py:")


def test_the_level_and_the_traceback_are_those_of_logging(log, handler, channel, listener, taken):
    handler.setLevel("ERROR")
    log.warning("not published")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    handler.flush()
    [(kind, payload)] = taken(channel, listener)
    assert kind == "error"
    assert payload["exception"].endswith("ZeroDivisionError: division by zero")


def test_dict_config_builds_it_with_a_formatter(channel, listener, taken):
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"short": {"format": "%(levelname)s! %(message)s"}},
        "handlers": {
            "live": {
                "class": "eric_sse_django.contrib.logging.ChannelHandler",
                "channel": "orders",
                "level": "INFO",
                "fields": ["request_id", "not_there"],
                "formatter": "short",
            }
        },
        "loggers": {"shop.configured": {"handlers": ["live"], "level": "DEBUG"}},
    }
    logging.config.dictConfig(config)
    log = logging.getLogger("shop.configured")
    log.propagate = False
    log.info("paid", extra={"request_id": object})
    [handler] = log.handlers
    handler.flush()
    log.removeHandler(handler)
    handler.close()
    [(_, payload)] = taken(channel, listener)
    assert payload["message"] == "INFO! paid"
    assert payload["request_id"] == "<class 'object'>"
    assert "not_there" not in payload


def test_it_is_published_although_the_code_that_logs_rolls_back(
    log, handler, channel, listener, taken
):
    with transaction.atomic(durable=True):
        log.error("rolled back")
        transaction.set_rollback(True)
    handler.flush()
    assert [payload["message"] for _, payload in taken(channel, listener)] == ["rolled back"]


def test_over_the_rate_records_are_dropped_and_counted(channel, listener, taken, monkeypatch):
    now = 1_000.0
    monkeypatch.setattr(contrib.time, "monotonic", lambda: now)
    handler = ChannelHandler("orders", rate_per_s=1, burst=2)
    log = logging.Logger("shop")  # noqa: LOG001 - only this test has it
    log.addHandler(handler)
    for number in range(5):
        log.info(number)
    now += 1
    log.info("later")
    monkeypatch.undo()
    handler.flush()
    handler.close()
    found = taken(channel, listener)
    assert [p["message"] for kind, p in found if kind == "info"] == ["0", "1", "later"]
    assert [p for kind, p in found if kind == "dropped"] == [{"records": 3}]


def test_when_the_queue_is_full_logging_does_not_wait(channel, listener, taken, monkeypatch):
    may_publish = threading.Event()
    publish = ChannelHandler._publish

    def slow(self, batch):
        assert may_publish.wait(PATIENCE_S)
        publish(self, batch)

    monkeypatch.setattr(ChannelHandler, "_publish", slow)
    handler = ChannelHandler("orders", burst=1_000, capacity=10)
    log = logging.Logger("shop")  # noqa: LOG001 - only this test has it
    log.addHandler(handler)
    began = time.monotonic()
    for number in range(30):
        log.info(number)
    assert time.monotonic() - began < 1
    may_publish.set()
    handler.flush()
    handler.close()
    found = taken(channel, listener)
    assert [p["message"] for kind, p in found if kind == "info"] == [str(n) for n in range(10)]
    assert [p for kind, p in found if kind == "dropped"] == [{"records": 20}]


def test_publishing_causes_no_record_that_is_published(
    settings, handler, channel, listener, taken
):
    """With DEBUG each query is logged, also those of the threads that publish and sequence."""
    root = logging.getLogger()
    queries = logging.getLogger("django.db.backends")
    level = queries.level
    queries.setLevel(logging.DEBUG)
    root.addHandler(handler)
    connection.force_debug_cursor = True
    try:
        logging.getLogger("eric_sse_django.hub").error("its own")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'from a view'")
        handler.flush()
        handler.flush()
    finally:
        connection.force_debug_cursor = False
        root.removeHandler(handler)
        queries.setLevel(level)
    [(kind, payload)] = taken(channel, listener)
    assert kind == "debug"
    assert "from a view" in payload["message"]


def test_a_record_whose_text_logs_is_published_once(log, handler, channel, listener, taken):
    class Loud:
        def __str__(self):
            log.error("from within")
            return "loud"

    log.error("%s", Loud())
    handler.flush()
    assert [payload["message"] for _, payload in taken(channel, listener)] == ["loud"]


def test_a_record_that_cannot_be_formatted_raises_nothing(log, handler, channel, listener, taken):
    log.error("%d", "not a number")
    log.error("next")
    handler.flush()
    found = taken(channel, listener)
    assert [p["message"] for kind, p in found if kind == "error"] == ["next"]
    assert ("dropped", {"records": 1}) in found


def test_an_unknown_channel_is_logged_once_and_published_to_later(
    channel, listener, taken, caplog
):
    handler = ChannelHandler("unknown")
    log = logging.Logger("shop")  # noqa: LOG001 - only this test has it
    log.addHandler(handler)
    log.error("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrib, "FLUSH_S", 0.6)  # two attempts at least
        handler.flush()
    handler.channel = "orders"
    handler.flush()
    handler.close()
    assert [payload["message"] for _, payload in taken(channel, listener)] == ["kept"]
    failures = [r for r in caplog.records if r.levelname == "ERROR" and r.name == contrib.__name__]
    assert len(failures) == 1
    assert "'unknown'" in failures[0].getMessage()


def test_a_message_over_the_limit_drops_no_other(settings, log, handler, channel, listener, taken):
    settings.ERIC_SSE = {"MAX_MESSAGE_BYTES": 1_000}
    log.info("x" * 2_000)
    log.info("short")
    handler.flush()
    log.info("last")
    handler.flush()
    found = taken(channel, listener)
    assert [p["message"] for kind, p in found if kind == "info"] == ["short", "last"]
    assert ("dropped", {"records": 1}) in found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_publishes_with_its_own_thread(log, handler, channel, listener, taken):
    log.info("parent")
    handler.flush()
    notifier.close()  # a thread that is in SQLite during the fork would block it in the child
    handler._is_emitting = True  # as during a fork while another thread logs
    child = os.fork()
    if not child:
        try:
            log.info("child")
            handler.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    handler._is_emitting = False
    found = taken(channel, listener)
    assert [payload["message"] for _, payload in found] == ["parent", "child"]
    assert found[1][1]["process"] == child


ENDS = """
import logging, socket, time
import django
from django.conf import settings

silent = socket.create_server(("127.0.0.1", 0))
database = {
    "ENGINE": "django.db.backends.postgresql", "NAME": "x",
    "HOST": "127.0.0.1", "PORT": silent.getsockname()[1],
}
live = {"class": "eric_sse_django.contrib.logging.ChannelHandler", "channel": "log"}
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "eric_sse_django"],
    DATABASES={"default": database},
    LOGGING={"version": 1, "handlers": {"live": live}, "root": {"handlers": ["live"]}},
)
django.setup()
logging.warning("before the end")
time.sleep(0.2)  # the thread waits for the database
print(time.time(), flush=True)
"""


def test_a_process_whose_database_gives_no_answer_ends_after_two_seconds(database):
    done = subprocess.run(
        [sys.executable, "-c", ENDS], stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S
    )
    assert time.time() - float(done.stdout) < 2 * contrib.FLUSH_S


def test_values_without_a_meaning_are_refused(database):
    for bad in ({"rate_per_s": 0}, {"burst": 0}, {"capacity": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ChannelHandler("orders", **bad)


def test_it_is_imported_without_models(database):
    """Django reads LOGGING before it loads the apps."""
    done = os.spawnv(
        os.P_WAIT,
        sys.executable,
        [
            sys.executable,
            "-c",
            "import sys, eric_sse_django.contrib.logging; "
            "assert 'eric_sse_django.models' not in sys.modules",
        ],
    )
    assert done == 0
