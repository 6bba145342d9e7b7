"""Databases that go back under running servers: a replica takes over, a dump is loaded."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import RESET
from eric_sse_django.shortcuts import watch_url
from tests import forking, servers
from tests.conftest import missing
from tests.databases import on
from tests.event_source import EventSourceClient
from tests.live import site
from tests.live.asgi_servers import ROOT

PATIENCE_S = 60.0
SETTINGS = {"POLL_INTERVAL_S": 0.2, "RETRY_MS": 200}

PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from eric_sse_django.shortcuts import channel, listen, stream_url, watch_url
channel("orders")
print(stream_url(listen("orders"), ticket=True))
print(watch_url("orders"))
"""


@pytest.fixture(autouse=True)
def forget_connections(request):
    """Make pytest empty the tables over a new connection: the dump has created them again."""
    if "database" in request.fixturenames:
        request.getfixturevalue("database")  # set up before this fixture, so torn down after it
    yield
    connections.close_all()


async def publish(environment, first, count):
    arguments = ["orders", str(first), str(count), "0"]
    command = [sys.executable, "-m", "tests.live.publisher", *arguments]
    done = await asyncio.to_thread(
        forking.run, command, cwd=ROOT, env=environment, timeout_s=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr


def numbers(client):
    events = [record.event for record in client.records]
    return [int(event.data) for event in events if event.type == "number"]


def resets(client):
    return [record.event for record in client.records if record.event.type == RESET]


async def has(client, *expected):
    await site.until(lambda: set(expected) <= set(numbers(client)), PATIENCE_S)


async def test_a_replica_that_lacked_messages_takes_over(serve):
    """PostgreSQL's streaming replication, the primary killed; fewer or more are published then."""
    if servers.Postgres.absence() is not None:
        missing(str(servers.Postgres.absence()))
    await site.side_by_side(partial(takes_over, serve), ["5 lost", "40 lost"])


async def takes_over(serve, case, turn):
    lost = int(case.split()[0])
    with contextlib.ExitStack() as stack:
        primary = servers.Postgres()
        stack.callback(primary.discard)
        await asyncio.to_thread(primary.start)
        environment, paths = await prepared(primary)
        replica = servers.PostgresReplica(primary)
        stack.callback(replica.discard)
        await asyncio.to_thread(replica.start)
        processes = [
            await asyncio.to_thread(serve, server, settings=SETTINGS, environment=environment)
            for server in ("uvicorn", "daphne")
        ]
        urls = [f"{process.url}{path}" for process in processes for path in paths]
        clients = [await EventSourceClient(url).__aenter__() for url in urls]
        await site.until(lambda: all(client.statuses for client in clients), PATIENCE_S)
        await publish(environment, 0, 10)
        for client in clients:
            await has(client, *range(10))
        await site.until(replica.follows, PATIENCE_S)
        await asyncio.to_thread(replica.kill)
        await publish(environment, 100, lost)
        for client in clients:
            await has(client, *range(100, 100 + lost))
        await asyncio.to_thread(primary.kill)
        replica.port = primary.port
        await asyncio.to_thread(replica.start)
        replica.ask("SELECT pg_promote()")
        await publish(environment, 200, 20)
        for client in clients:
            await has(client, *range(200, 220))
        await publish(environment, 300, 1)
        for client in clients:
            await has(client, 300)
            assert len(resets(client)) == 1
            await client.__aexit__()
        for process in processes:
            log = process.log.read_text()
            assert log.count("the log has another history") == 1
            assert "reason=history" in log


async def prepared(primary):
    """Return the environment of the site's processes on a new database, and two streams' paths."""
    with psycopg.connect(primary.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    environment = {
        **os.environ,
        "ERIC_SSE_TEST_DB": f"postgres:{primary.port}:shop",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", PREPARE]
    done = await asyncio.to_thread(
        forking.run, command, cwd=ROOT, env=environment, timeout_s=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return environment, done.stdout.split()


def tables(alias):
    names = connections[alias].introspection.table_names()
    return [name for name in names if name.startswith("eric_sse_django_")]


def postgres_tool(name):
    return str(Path(str(servers._postgres_home())) / "bin" / name)


def copy_sqlite(source, target):
    connect = sqlite3.connect
    with contextlib.closing(connect(source)) as one, contextlib.closing(connect(target)) as other:
        one.backup(other)


def dump(alias, file):
    """Write what the app has to a file, by the database's own tool."""
    settings, vendor = connections[alias].settings_dict, connections[alias].vendor
    where, port = str(settings["NAME"]), str(settings["PORT"])
    if vendor == "sqlite":
        copy_sqlite(where, file)
        return
    if vendor == "postgresql":
        command = [
            postgres_tool("pg_dump"),
            "-Fc",
            "-h",
            "127.0.0.1",
            "-p",
            port,
            "-U",
            "postgres",
        ]
        command += ["-t", "eric_sse_*", "-f", str(file), where]
    else:
        command = ["mariadb-dump", "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}"]
        # A server may insert a row after the table was created again.
        command += ["-uroot", "--replace", f"--result-file={file}", where, *tables(alias)]
    subprocess.run(command, check=True, timeout=PATIENCE_S)


def load(alias, file):
    """Load what dump() wrote, under the feet of all that runs."""
    settings, vendor = connections[alias].settings_dict, connections[alias].vendor
    where, port = str(settings["NAME"]), str(settings["PORT"])
    if vendor == "sqlite":
        copy_sqlite(file, where)
        return
    if vendor == "postgresql":
        # Else servers write between the creation of a table and that of its keys.
        how = ["--clean", "--single-transaction"]
        command = [postgres_tool("pg_restore"), *how, "-h", "127.0.0.1", "-p", port]
        command += ["-U", "postgres", "-d", where, str(file)]
        subprocess.run(command, check=True, timeout=PATIENCE_S)
        return
    command = ["mariadb", "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}"]
    with open(file, "rb") as text:
        subprocess.run([*command, "-uroot", where], stdin=text, check=True, timeout=PATIENCE_S)


@on("sqlite", "postgres", "mariadb")
@pytest.mark.parametrize("lost", [5, 40])
async def test_a_dump_is_loaded_while_servers_run(database, serve, tmp_path, lost):
    if connections[database].vendor == "mysql" and shutil.which("mariadb-dump") is None:
        missing("mariadb-dump is not installed")
    channel = await DatabaseChannel.acreate("orders")
    paths = [await site.new_listener(channel), await sync_to_async(watch_url)("orders")]
    process = serve("uvicorn", database=database, settings=SETTINGS)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(EventSourceClient(process.url + path))
            for path in paths
        ]
        await site.until(lambda: all(client.statuses for client in clients), PATIENCE_S)
        await publish(process.environment, 0, 10)
        for client in clients:
            await has(client, *range(10))
        await asyncio.sleep(1.5)  # the cursors are written once a second
        await asyncio.to_thread(dump, database, tmp_path / "dump")
        await publish(process.environment, 100, lost)
        for client in clients:
            await has(client, *range(100, 100 + lost))
        await asyncio.to_thread(load, database, tmp_path / "dump")
        await publish(process.environment, 200, 20)
        # What came before its server noticed may have positions that the watcher has had.
        await has(clients[0], *range(200, 220))
        await publish(process.environment, 300, 1)
        for client in clients:
            await has(client, 300)
            assert len(resets(client)) == 1
    assert process.log.read_text().count("the log has another history") == 1
