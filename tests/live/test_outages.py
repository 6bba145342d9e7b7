"""Databases and Redis stop and start again under load: nothing that was accepted is lost."""

import asyncio
import sqlite3
from contextlib import closing

import psycopg
import pymysql
import pytest
from django.db import connections

from tests import servers
from tests.conftest import missing
from tests.databases import on, postgres_only, sqlite_only
from tests.faults import command, namespace
from tests.faults.disk import FULL
from tests.faults.load import load
from tests.faults.scale import sized
from tests.faults.servers import nats_settings

AWAY_S = sized(2, 5)
# What a publisher gets for what was not accepted, from Django or from a queue of this app.
CLEAR = ("OperationalError: ", "InterfaceError: ", "RepositoryError: ")


@pytest.fixture(autouse=True)
def forget_connections(request):
    """Make pytest empty the tables over a new connection: its own was ended as well."""
    if "database" in request.fixturenames:
        request.getfixturevalue("database")  # set up before this fixture, so torn down after it
    yield
    connections.close_all()


@pytest.mark.parametrize("end", ["stop", "kill"])
@on("postgres", "mariadb")
async def test_a_restart_of_the_database_ends_no_stream_and_loses_nothing(
    database, serve, database_servers, end
):
    process = serve("uvicorn", database=database)
    async with load(process) as under_load:
        await under_load.until_accepted()
        await asyncio.to_thread(getattr(database_servers[database], end))
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(database_servers[database].start)
        await under_load.until_accepted()
        verdict = await under_load.finish()
        assert verdict.good, verdict
        assert under_load.stayed_open()
        assert under_load.errors()
        assert all(error.startswith(CLEAR) for error in under_load.errors())
    log = process.log.read_text()
    assert log.count("reading the log failed") == log.count("reading the log works again") == 1


@postgres_only
async def test_a_restart_of_redis_loses_nothing(database, serve, redis_server):
    settings = {"POLL_INTERVAL_S": 0.5}
    port = redis_server.port
    process = serve("uvicorn", database=database, redis_port=port, settings=settings)
    async with load(process) as under_load:
        await under_load.until_accepted()
        await asyncio.to_thread(redis_server.stop)
        await asyncio.sleep(AWAY_S)
        await under_load.until_accepted()
        await asyncio.to_thread(redis_server.start)
        await under_load.until_accepted()
        verdict = await under_load.finish()
        assert verdict.good, verdict
        assert under_load.stayed_open()
        assert under_load.errors() == []


@postgres_only
async def test_a_restart_of_nats_loses_nothing(database, serve):
    with servers.Nats() as nats:
        settings = nats_settings(nats.port, POLL_INTERVAL_S=0.5, WAKES_CARRY="messages")
        process = serve("uvicorn", database=database, settings=settings)
        async with load(process) as under_load:
            await under_load.until_accepted()
            await asyncio.to_thread(nats.kill)
            await asyncio.sleep(AWAY_S)
            await under_load.until_accepted()
            await asyncio.to_thread(nats.start)
            await under_load.until_accepted()
            verdict = await under_load.finish()
            assert verdict.good, verdict
            assert under_load.stayed_open()
            assert under_load.errors() == []


@postgres_only
async def test_a_backend_that_is_terminated_during_reads_costs_a_new_connection(
    database, serve, database_servers
):
    # No ring buffer and no stream buffer: streams read the log themselves, again and again.
    settings = {"RING_MESSAGES": 0, "STREAM_BUFFER_MESSAGES": 1}
    environment = {"PGAPPNAME": "served"}
    process = serve("uvicorn", database=database, settings=settings, environment=environment)
    terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {} = 'served'"
    terminated = 0
    async with load(process, pause_s=0.005) as under_load:
        dsn = database_servers["postgres"].dsn
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as administrator:
            for _ in range(sized(20, 200)):
                await under_load.until_accepted(2)
                asked = await administrator.execute(terminate.format("application_name"))
                terminated += (await asked.fetchone())[0]
        verdict = await under_load.finish()
        assert verdict.good, verdict
        assert under_load.stayed_open()
        # The publisher's connection was ended as well, and it got an error.
        assert all(error.startswith(CLEAR) for error in under_load.errors())
    assert terminated >= 5


async def hold_the_log(database, server, seconds):
    """Keep the row that gives order locked, as another process's sequencing would."""
    statement = "SELECT position FROM eric_sse_django_loghead FOR UPDATE"
    with connected(database, server) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.fetchone()
        await asyncio.sleep(seconds)
        connection.rollback()


def connected(database, server):
    """Return a connection of the driver's own, on the running test's database."""
    name = connections[database].settings_dict["NAME"]
    if database == "postgres":
        return psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", dbname=name)
    return closing(pymysql.connect(host="127.0.0.1", port=server.port, user="root", database=name))


@on("postgres", "mariadb")
async def test_a_lock_on_the_logs_head_delays_delivery_and_no_publisher(
    database, serve, database_servers
):
    process = serve("uvicorn", database=database, settings={"POLL_INTERVAL_S": 0.5})
    async with load(process) as under_load:
        await under_load.until_accepted()
        holding = asyncio.create_task(hold_the_log(database, database_servers[database], AWAY_S))
        await asyncio.sleep(0.2)
        await under_load.until_accepted(20)
        assert not holding.done()  # they were accepted while the head was locked
        await holding
        verdict = await under_load.finish()
        assert verdict.good, verdict
        assert under_load.stayed_open()
        assert under_load.errors() == []


@postgres_only
async def test_a_lock_timeout_is_tried_again(database, serve, database_servers):
    environment = {"PGOPTIONS": "-c lock_timeout=300"}
    process = serve("uvicorn", database=database, environment=environment)
    async with load(process) as under_load:
        await under_load.until_accepted()
        await hold_the_log(database, database_servers[database], AWAY_S)
        verdict = await under_load.finish()
        assert verdict.good, verdict
        assert under_load.stayed_open()


@sqlite_only
async def test_a_database_locked_for_too_long_fails_publishers_and_ends_no_stream(database, serve):
    process = serve("uvicorn", environment={"ERIC_SSE_TEST_SQLITE_TIMEOUT_S": "0.5"})
    async with load(process) as under_load:
        await under_load.until_accepted()
        file = connections[database].settings_dict["NAME"]
        with closing(sqlite3.connect(file, isolation_level=None, timeout=20)) as other:
            other.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(AWAY_S)
            other.execute("ROLLBACK")
        await under_load.until_accepted()
        verdict = await under_load.finish()
        assert verdict.good, verdict
        assert under_load.stayed_open()
        assert "OperationalError: database is locked" in under_load.errors()
        assert all(error.startswith(CLEAR) for error in under_load.errors())


def test_a_disk_that_is_full_fails_publishers_and_ends_no_stream(tmp_path):
    reason = namespace.absence("mount", "mount")
    if reason is not None:
        missing(reason)
    options = ("--seconds", str(AWAY_S))
    report = command.run("tests.faults.disk", *options, directory=tmp_path, timeout_s=90)
    assert report["status"] == 0
    assert report["verdict"]["good"]
    assert report["errors"] == [FULL]
