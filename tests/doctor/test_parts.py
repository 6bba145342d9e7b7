"""The doctor finds what tests set up in settings, databases, the fabric, the log and clocks."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from eric_sse_django import conf, log, notifier
from eric_sse_django.doctor import (
    ERROR,
    GOOD,
    clocks,
    databases,
    examine,
    fabric,
    logged,
    project,
    replica,
)
from eric_sse_django.doctor.finding import error
from eric_sse_django.doctor.link import site_of
from eric_sse_django.log import Draft
from eric_sse_django.models import LogHead, QueuedMessage, ServerProcess
from eric_sse_django.shortcuts import channel, publish
from tests import copies
from tests.databases import mariadb_only, on, postgres_only, sqlite_only
from tests.doctor.nginx import nginx
from tests.patience import PATIENCE_S
from tests.server import free_port

PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
NATS = "eric_sse_django.wakes.nats.NatsFabric"


def bad(found):
    """Return the ids of what is not good, each of which has a next step."""
    found = list(found)
    assert all(each.next_step for each in found if each.level != GOOD), found
    return [each.id for each in found if each.level != GOOD]


# Settings -------------------------------------------------------------------------------


def test_what_the_system_checks_find_is_found(settings):
    settings.ERIC_SSE = {"POLL_INTERVALL_S": 1}
    assert "settings.E002" in bad(project.examine())
    settings.ERIC_SSE = {"HEARTBEAT_S": 90}
    assert "settings.heartbeat" in bad(project.examine())


def test_a_check_that_is_silenced_stays_silent(settings):
    settings.ERIC_SSE = {"POLL_INTERVALL_S": 1}
    settings.SILENCED_SYSTEM_CHECKS = ["eric_sse_django.E002"]
    assert "settings.E002" not in bad(project.examine())


# The database ---------------------------------------------------------------------------


@on("sqlite", "postgres", "mariadb")
def test_a_good_database_is_good(database):
    # The servers of tests sync nothing.
    assert {*bad(databases.examine())} <= {"database.durability"}
    assert bad(clocks.examine()) == []


@sqlite_only
def test_migrations_that_are_not_applied_are_found(database):
    migrations = MigrationRecorder(connections["default"]).migration_qs
    row = migrations.filter(app="eric_sse_django").latest("id")
    row.delete(using="default")
    try:
        assert bad(databases.examine()) == ["database.tables"]
    finally:
        row.save(using="default", force_insert=True)


@postgres_only
def test_a_database_that_cannot_be_reached_is_found(database):
    connection = connections["postgres"]
    connection.close()
    port, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], str(free_port())
    try:
        assert "database.unreachable" in bad(examine())
        assert bad(databases.examine()) == ["database.unreachable"]
    finally:
        connection.settings_dict["PORT"] = port


@postgres_only
def test_a_database_that_gives_no_answer_is_found(database, monkeypatch):
    monkeypatch.setattr(databases, "CONNECT_S", 0.5)
    connection = connections["postgres"]
    connection.close()
    port = connection.settings_dict["PORT"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection.settings_dict["PORT"] = str(silent.getsockname()[1])
        try:
            assert bad(databases.examine()) == ["database.unreachable"]
        finally:
            connection.settings_dict["PORT"] = port


@sqlite_only
def test_a_journal_that_is_no_write_ahead_log_is_found(database):
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=DELETE")
        try:
            assert bad(databases.examine()) == ["database.journal"]
        finally:
            cursor.execute("PRAGMA journal_mode=WAL")


@sqlite_only
def test_a_write_ahead_log_that_grows_is_found(database, monkeypatch):
    channel("orders")  # it has some bytes now
    monkeypatch.setattr(databases, "MAX_WAL_BYTES", 0)
    assert bad(databases.examine()) == ["database.wal"]


@sqlite_only
def test_a_file_on_a_network_file_system_is_found(database, monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("host:/ / nfs4 rw 0 0\n")
    monkeypatch.setattr(databases, "MOUNTS", mounts)
    assert bad(databases.examine()) == ["database.network_file"]
    monkeypatch.setattr(databases, "MOUNTS", tmp_path / "none")
    assert bad(databases.examine()) == []


@pytest.fixture
def other(database):
    """Return a second connection to the database."""
    with closing(connections[database].copy()) as connection:
        yield connection


@on("postgres", "mariadb")
def test_a_transaction_that_is_open_for_long_is_found(database, other, monkeypatch):
    monkeypatch.setattr(databases, "LONG_S", 0)
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM eric_sse_django_channel")
        cursor.execute("UPDATE eric_sse_django_loghead SET position = position")
    deadline = time.monotonic() + 5  # the server counts whole seconds
    while "database.old_snapshot" not in bad(databases.examine()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    other.rollback()


@postgres_only
def test_a_slot_that_no_replica_reads_is_found(database):
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SELECT pg_create_physical_replication_slot('left_behind', true)")
        try:
            assert bad(databases.examine()) == ["database.slot"]
        finally:
            cursor.execute("SELECT pg_drop_replication_slot('left_behind')")


@postgres_only
def test_an_isolation_level_of_the_server_is_found(database):
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'serializable'")
        cursor.execute("SET synchronous_commit = off")
        assert bad(databases.examine()) == ["database.isolation", "database.durability"]
        cursor.execute("RESET default_transaction_isolation")
        cursor.execute("RESET synchronous_commit")


@mariadb_only
def test_a_server_that_does_not_sync_is_found(database):
    with connections["mariadb"].cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")
        (before,) = cursor.fetchone()
        try:
            for value, found in ((2, ["database.durability"]), (1, [])):
                cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = %s", [value])
                assert bad(databases.examine()) == found
        finally:
            cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = %s", [before])


# The fabric -------------------------------------------------------------------------------


def test_a_fabric_that_cannot_be_used_is_found(settings):
    settings.ERIC_SSE = {"FABRIC": {"BACKEND": "no.such.Fabric"}}
    assert bad(fabric.examine()) == ["fabric.unusable"]
    settings.ERIC_SSE = {"FABRIC": None}
    assert bad(fabric.examine()) == []
    settings.ERIC_SSE = {}
    assert bad(fabric.examine()) == []


@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_a_server_of_wakes_that_does_not_run_is_found(settings, kind):
    port = free_port()
    if kind == "nats":
        settings.ERIC_SSE = {"FABRIC": {"BACKEND": NATS, "LOCATION": f"nats://127.0.0.1:{port}"}}
    else:
        config = {"hosts": [("127.0.0.1", port)]}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": PUBSUB, "CONFIG": config}}
    assert bad(fabric.examine()) == ["fabric.unreachable"]


HANGS = """
import threading, django; django.setup()
from unittest import mock
from eric_sse_django.doctor import fabric
layer = mock.Mock(probe=threading.Event().wait)
layer.name = "a layer"
fabric.ANSWER_S = 0.1
with mock.patch("eric_sse_django.wakes.configured", lambda: layer):
    print([each.id for each in fabric.examine()])
"""


def test_a_library_that_hangs_does_not_keep_the_process_from_its_end():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", HANGS]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout == "['fabric.unreachable']\n", done.stderr


def test_findings_show_no_password_of_a_url(settings):
    location = f"nats://ann:4111@127.0.0.1:{free_port()}"
    settings.ERIC_SSE = {"FABRIC": {"BACKEND": NATS, "LOCATION": location}}
    assert "4111" not in str([*fabric.examine()])
    found = error("a.b", f"{location} fails: 'redis://:4111@x/0' \x9b2J", f"Look at {location}.")
    assert "4111" not in str(found)
    assert found.text.isprintable()


def test_redis_and_nats_that_run_are_good(settings, redis_server, nats_server):
    config = {"hosts": [("127.0.0.1", redis_server.port)]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": PUBSUB, "CONFIG": config}}
    assert bad(fabric.examine()) == []
    settings.ERIC_SSE = {"FABRIC": {"BACKEND": NATS, "LOCATION": nats_server.url}}
    assert bad(fabric.examine()) == []


# The log ----------------------------------------------------------------------------------


@sqlite_only
def test_a_log_that_works_is_good(database):
    channel("orders")
    publish("orders", "n")
    notifier.flush()
    assert bad(logged.examine()) == ["log.not_served"]  # a note
    ServerProcess.objects.create(name="a", started_at=timezone.now(), renewed_at=timezone.now())
    assert bad(logged.examine()) == []


@sqlite_only
def test_messages_that_no_process_sequences_are_found(database, monkeypatch):
    log.append([Draft(channel("orders").row.pk, 60.0, False, "n", "1")] * 2)
    QueuedMessage.objects.update(created_at=timezone.now() - timedelta(seconds=11))
    with monkeypatch.context() as patched:
        patched.setattr(logged, "WATCHED_S", 0.0)
        assert "log.unsequenced" in bad(logged.examine())
    with monkeypatch.context() as patched:  # it gets its position while the doctor looks
        patched.setattr("time.sleep", lambda _: log.sequence())
        assert "log.unsequenced" not in bad(logged.examine())


@sqlite_only
@pytest.mark.parametrize("interval_s", [0, 60])
def test_messages_that_no_process_removes_are_found(database, settings, interval_s):
    settings.ERIC_SSE = {"TRIM_INTERVAL_S": interval_s}
    channel("orders")
    publish("orders", "n")
    QueuedMessage.objects.update(expires_at=timezone.now() - timedelta(hours=2))
    assert "log.untrimmed" in bad(logged.examine())


@sqlite_only
def test_declared_channels_that_are_missing_or_differ_are_found(database, settings):
    channel("news", access="users")
    settings.ERIC_SSE = {"CHANNELS": {"orders": {}, "news": {"access": "everyone"}}}
    assert bad(logged.examine())[:2] == ["log.channel_missing", "log.channel_differs"]


@sqlite_only
def test_a_slow_process_and_one_whose_clock_is_ahead_are_found(database):
    ahead = timezone.now() + timedelta(seconds=20)
    ServerProcess.objects.create(
        name="a", started_at=timezone.now(), renewed_at=ahead, delay_p99_ms=4_000
    )
    assert bad(logged.examine()) == ["log.slow"]
    assert bad(clocks.examine()) == ["clocks.process"]


@on("postgres", "mariadb")
def test_a_clock_that_differs_from_the_databases_is_found(database, monkeypatch):
    late = timedelta(seconds=30)
    original = databases.clock_of
    monkeypatch.setattr(clocks, "clock_of", lambda connection: original(connection) - late)
    assert bad(clocks.examine()) == ["clocks.database"]


# The replica --------------------------------------------------------------------------------


@on("sqlite", "postgres", "mariadb")
def test_a_replica_that_follows_is_good(database, settings):
    channel("orders")
    publish("orders", "n")
    notifier.flush()
    with copies.copy_of(database) as copy:
        settings.ERIC_SSE = {"REPLICA": copy}
        assert [each.id for each in replica.examine()] == ["replica.follows"]


@sqlite_only
def test_a_replica_that_is_late_of_another_log_or_away_is_found(
    database, settings, monkeypatch, tmp_path
):
    monkeypatch.setattr(replica, "FOLLOWS_IN_S", 0.0)
    file = tmp_path / "copy.sqlite3"
    channel("orders")
    publish("orders", "n")
    notifier.flush()
    copies.copy_sqlite(database, file)
    with copies.copy_of(database, NAME=str(file)) as copy:
        settings.ERIC_SSE = {"REPLICA": copy}
        publish("orders", "n")
        notifier.flush()
        assert bad(replica.examine()) == ["replica.late"]
        LogHead.objects.using(copy).update(position=99)  # it was promoted, and written to
        assert bad(replica.examine()) == ["replica.another"]
        connections[copy].close()
        connections[copy].settings_dict["NAME"] = str(tmp_path / "away" / "copy")
        assert bad(replica.examine()) == ["replica.unreachable"]


# The command --------------------------------------------------------------------------------


def run(*options):
    """Return the output and the exit status."""
    out = StringIO()
    try:
        call_command("eric_doctor", *options, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), ended.code
    return out.getvalue(), 0


@sqlite_only
def test_the_command_names_findings_next_steps_and_its_status(database, settings):
    text, status = run()
    assert status == 0
    assert "No problem found." in text
    settings.ERIC_SSE = {"CHANNELS": ["orders"]}
    text, status = run()
    assert status == 1
    assert "[log.channel_missing]\n    → Run manage.py migrate." in text
    assert "1 problem found." in text
    assert run("--fail-level", "never")[1] == 0


@sqlite_only
def test_the_command_prints_json(database, settings):
    settings.ERIC_SSE = {"HEARTBEAT_S": 90}
    text, status = run("--json", "--fail-level", "warning")
    result = json.loads(text)
    assert (status, result["healthy"]) == (1, False)
    assert "settings.heartbeat" in [each["id"] for each in result["findings"]]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("www.example.com/shop", "https://www.example.com/shop"),
        ("localhost:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("http://www.example.com", "http://www.example.com"),
    ],
)
def test_an_address_without_a_scheme_is_https_or_http_on_this_machine(url, address):
    assert site_of(url).geturl() == address


@pytest.mark.parametrize("url", ["", "ftp://www.example.com", "https://", "http://a:b", "a:99999"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(CommandError, match="give an address such as"):
        call_command("eric_doctor", url=url)


@sqlite_only
def test_a_part_that_fails_does_not_keep_the_others_from_theirs(database, monkeypatch):
    monkeypatch.setattr(logged, "examine", lambda: conf.get("NO_SUCH"))
    found = {each.id: each.level for each in examine()}
    assert found["log.not_examined"] == ERROR
    assert found["clocks.agree"] == GOOD


def test_the_whole_site_behind_nginx_is_healthy(eric_live_server, settings):
    settings.ERIC_SSE = {"HEARTBEAT_S": 1}
    with nginx(eric_live_server) as url:
        text, status = run("--url", url, "--fail-level", "warning")
    assert status == 0, text
    assert text.count("✓") >= 7
