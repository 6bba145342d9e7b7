"""Backlogs from replicas of PostgreSQL and MariaDB: late, killed, stopped, promoted."""

import contextlib

import psutil
import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command

from eric_sse_django import testing
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import backlogs
from tests import copies, servers
from tests.databases import mariadb_only, postgres_only
from tests.live.site import until
from tests.streams.reading import Site

PATIENCE_S = 30.0
FAILS = "reading backlogs from the replica failed"


@pytest.fixture
def replica(database, database_servers, settings):
    """Return a replica of the test's server, which is the setting REPLICA."""
    replica = servers.PostgresReplica(database_servers["postgres"])
    with contextlib.ExitStack() as stack:
        stack.callback(replica.discard)
        replica.start()
        copy = stack.enter_context(copies.copy_of(database, PORT=str(replica.port)))
        settings.ERIC_SSE = {"REPLICA": copy}
        yield replica


class World:
    """A channel, its listener, and streams that read all from the beginning."""

    def __init__(self, site, listener, replica, name):
        self.site, self.listener, self.replica, self._name = site, listener, replica, name

    async def followed(self):
        """Return once the replica has all."""
        await self.site.at_head()
        await until(self.replica.follows, PATIENCE_S)

    async def all(self):
        """Return all that a new stream of the listener gets, and the outcome at the replica."""
        counted = self.site.hub.counters.replica
        before = counted.copy()
        reader = await self.site.read(self.listener, self.listener.start)
        await reader.until(lambda: not reader.stream.reader.behind)
        return reader.data, [*(counted - before)]

    def on_replica(self, sql):
        """Execute SQL there."""
        return self.replica.ask(sql, self._name)


@pytest.fixture
async def world(database, replica):
    from django.db import connections

    site = Site(await DatabaseChannel.acreate("orders"))
    listener = await site.listener()
    yield World(site, listener, replica, connections[database].settings_dict["NAME"])
    await site.close()


@postgres_only
async def test_a_replica_that_is_late_is_read_as_far_as_it_is(world):
    await world.site.publish(1, 2)
    await world.site.publish_old(0)
    await world.followed()
    world.on_replica("SELECT pg_wal_replay_pause()")
    await world.site.publish(3)
    await world.site.at_head()
    assert await world.all() == (["1", "2", "0", "3"], ["read"])
    assert await world.site.trim() == 1
    assert await world.all() == (["1", "2", "0", "3"], ["read"])  # it is there still
    world.on_replica("SELECT pg_wal_replay_resume()")
    await world.followed()
    data, outcomes = await world.all()
    assert [each for each in data if each.isdigit()] == ["1", "2", "3"]
    assert len(data) == 4  # with an eric-reset
    assert outcomes == ["read"]


@postgres_only
async def test_a_replica_that_lacks_what_is_asked_for_is_not_waited_for(world):
    await world.followed()
    world.on_replica("SELECT pg_wal_replay_pause()")
    await world.site.publish(1)
    await world.site.at_head()
    assert await world.all() == (["1"], ["behind"])


@postgres_only
async def test_a_killed_replica_is_logged_once_and_read_again_when_it_is_back(world, caplog):
    await world.site.publish(1)
    await world.followed()
    assert await world.all() == (["1"], ["read"])
    world.replica.kill()
    for _ in range(3):
        assert (await world.all())[0] == ["1"]
    assert caplog.text.count(FAILS) == 1
    await sync_to_async(world.replica.start)()
    world.site.hub.backlogs._retry_at = 0.0
    assert await world.all() == (["1"], ["read"])
    assert "reading backlogs from the replica works again" in caplog.text


@postgres_only
async def test_a_stopped_replica_delays_a_stream_by_its_deadline(world, caplog, monkeypatch):
    monkeypatch.setattr(backlogs, "REPLICA_DEADLINE_S", 0.2)
    await world.site.publish(1)
    await world.followed()
    assert await world.all() == (["1"], ["read"])
    family = psutil.Process(world.replica.process.pid)
    stopped = [family, *family.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        assert await world.all() == (["1"], ["failed"])
        assert FAILS in caplog.text
    finally:
        for process in stopped:
            process.resume()
    world.site.hub.backlogs._retry_at = 0.0
    assert await world.all() == (["1"], ["read"])


@postgres_only
async def test_a_promoted_replica_is_a_stale_copy_until_it_is_written_to(world, caplog):
    await world.site.publish(1)
    await world.followed()
    world.on_replica("SELECT pg_promote()")
    await world.site.publish(2)
    await world.site.at_head()
    assert await world.all() == (["1", "2"], ["read"])
    # As a process does that sequences there and does not compare identities.
    head = "UPDATE eric_sse_django_loghead SET position = position + 1, marked = position + 1"
    world.on_replica(f"{head}, marked_at = '2001-01-01' RETURNING 1")
    world.on_replica(
        "INSERT INTO eric_sse_django_queuedmessage "
        "(position, channel_id, type, payload, created_at, expires_at) "
        "SELECT position, (SELECT id FROM eric_sse_django_channel), 'n', '\"wrong\"', "
        "marked_at, '2100-01-01' FROM eric_sse_django_loghead RETURNING 1"
    )
    assert await world.all() == (["1", "2"], ["failed"])
    assert "has another history" in caplog.text
    await world.site.publish(3)
    await world.site.at_head()
    world.site.hub.backlogs._retry_at = 0.0
    assert await world.all() == (["1", "2", "3"], ["failed"])


# MariaDB --------------------------------------------------------------------------------------


@pytest.fixture
def mariadb_pair(database, settings, monkeypatch):
    """Return a MariaDB that is the log's database, and a replica that is the setting REPLICA."""
    primary = servers.MariaDBPrimary()
    replica = servers.MariaDBReplica(primary)
    with contextlib.ExitStack() as stack:
        for server in (primary, replica):
            stack.callback(server.discard)
            server.start()
        replica.follow()
        primary.ask("CREATE DATABASE shop CHARACTER SET utf8mb4")
        here, there = (
            stack.enter_context(copies.copy_of(database, name, NAME="shop", PORT=str(server.port)))
            for name, server in (("primary", primary), ("replica", replica))
        )
        monkeypatch.setattr("tests.router.SelectedDatabaseRouter.alias", here)
        call_command("migrate", database=here, verbosity=0)
        settings.ERIC_SSE = {"REPLICA": there}
        yield primary, replica
        testing.close_all()


@mariadb_only
async def test_mariadbs_replica(mariadb_pair, caplog):
    _, replica = mariadb_pair
    site = Site(await DatabaseChannel.acreate("orders"))
    world = World(site, await site.listener(), replica, "shop")
    try:
        await site.publish(1, 2)
        await site.publish_old(0)
        await world.followed()
        assert await world.all() == (["1", "2", "0"], ["read"])
        world.on_replica("STOP SLAVE SQL_THREAD")
        await site.publish(3)
        await site.at_head()
        assert await site.trim() == 1
        assert await world.all() == (["1", "2", "0", "3"], ["read"])
        world.on_replica("START SLAVE SQL_THREAD")
        await world.followed()
        data, outcomes = await world.all()
        assert [each for each in data if each.isdigit()] == ["1", "2", "3"]
        assert (len(data), outcomes) == (4, ["read"])  # with an eric-reset
        replica.kill()
        assert (await world.all())[1] == ["failed"]
        assert caplog.text.count(FAILS) == 1
    finally:
        await site.close()
