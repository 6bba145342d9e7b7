"""Pages that are read from a replica: what the log has, as far as the replica has it."""

import pytest
from django.db import connections

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.log import history, replica
from eric_sse_django.log.replica import DatabaseReplica
from eric_sse_django.models import Listener, LogHead
from tests import copies
from tests.database.tools import keys_of_a_world
from tests.databases import on
from tests.log_contract import LogContract, World, payloads


def head():
    """Return what the log's hubs know."""
    seen = history.see(log.database())
    return log.Known(0) if seen is None else seen.head


class ThroughReplica(log.DatabaseLog):
    """The log, whose pages come from the replica if that can be."""

    def __init__(self, copy):
        self.copy, self.pages = copy, 0

    def read(self, recipients, upto, limit):
        """Read the replica first."""
        known = head()
        upto = known.position if upto is None else upto
        found = DatabaseReplica(self.copy).read(recipients, known, upto, limit)
        if found is None:
            return log.read(recipients, upto, limit)
        assert found.is_proven
        self.pages += 1
        return found.page


@pytest.mark.usefixtures("no_notifier")
class TestReadingThroughAReplica(LogContract):
    """One that is never late gives the pages of the log."""

    @pytest.fixture
    def world(self, database, settings):
        settings.ERIC_SSE = {}
        keys = keys_of_a_world()
        with copies.copy_of(database) as copy:
            yield World(ThroughReplica(copy), *keys)

    def on_a_thread(self, function, *args):
        try:
            return function(*args)
        finally:
            connections.close_all()

    def test_its_pages_are_the_replicas(self, world):
        world.append(*range(5))
        assert world.read(world.reader(world.phone, world.ana), limit=3) == [0, 1, 2]
        assert world.log.pages == 1

    def test_a_trim_between_two_of_its_queries_is_not_seen(self, world, monkeypatch):
        def trimmed_first(*of, rows_of=replica.rows_of):
            assert world.trim() == 1
            return rows_of(*of)

        world.append(1, kept_s=-3_600.0)
        world.append(2)
        monkeypatch.setattr(replica, "rows_of", trimmed_first)
        assert world.read(world.reader()) == [1, 2]
        monkeypatch.undo()
        assert world.read(world.reader()) == ["eric-reset", 2]

    @on("postgres", "mariadb")
    def test_it_never_writes(self, world):
        alias = world.log.copy
        dialect = log.dialect_of(connections[alias])
        with pytest.raises(Exception, match=r"(?i)read.only"), dialect.snapshot():
            LogHead.objects.using(alias).update(position=1)
        connections[alias].close()


@pytest.mark.usefixtures("no_notifier")
class TestAReplicaThatIsLate:
    """A copy of a SQLite file: with what the log had when it was made."""

    pytestmark = on("sqlite")

    @pytest.fixture
    def world(self, database, settings, tmp_path):
        settings.ERIC_SSE = {}
        channel, other = (DatabaseChannel.create(name) for name in ("orders", "bills"))
        phone, laptop, till = (channel.add_listener().row.pk for _ in range(3))
        file = tmp_path / "copy"
        copies.copy_sqlite(database, file)
        with copies.copy_of(database, NAME=str(file)) as copy:
            world = World(log.DATABASE, channel.row.pk, other.row.pk, phone, laptop, till, 1, 2)
            world.copy = copy
            world.replicate = lambda: copies.copy_sqlite(database, file)
            yield world

    def read(self, world, *readers, upto=None, limit=1_000):
        known = head()
        upto = known.position if upto is None else upto
        to = readers or [world.reader(world.phone)]
        return DatabaseReplica(world.copy).read(to, known, upto, limit)

    def test_its_page_reaches_its_own_head(self, world):
        world.append(1, 2)
        world.replicate()
        reached = world.log.head().position
        world.append(3)
        found = self.read(world)
        assert payloads(found.page) == [1, 2]
        assert found.page.reached == found.head.position == reached
        assert not found.is_proven
        assert log.is_as_known(found.head)

    def test_what_it_lacks_is_not_read_from_it(self, world):
        world.append(1)
        assert self.read(world) is None
        world.replicate()
        reader = world.reader(world.phone)._replace(after=world.log.head().position)
        world.append(2)
        assert self.read(world, reader) is None

    def test_a_page_ends_at_the_position_that_is_asked_for(self, world):
        world.append(1)
        upto = world.log.head().position
        world.append(2)
        world.replicate()
        found = self.read(world, upto=upto)
        assert (payloads(found.page), found.page.reached) == ([1], upto)

    def test_a_trim_that_it_lacks_leaves_the_messages(self, world):
        world.append(1, kept_s=-1.0)
        world.append(2)
        world.replicate()
        assert world.trim() == 1
        found = self.read(world)
        assert payloads(found.page) == [1, 2]
        assert found.is_proven

    def test_a_trim_that_it_has_is_a_reset(self, world):
        world.append(1, kept_s=-1.0)
        world.append(2)
        world.trim()
        world.replicate()
        world.append(3)
        assert payloads(self.read(world).page) == ["eric-reset", 2]

    def test_a_trim_that_it_shows_before_the_log_does_is_a_reset(self, world, monkeypatch):
        """A synchronous replica shows a commit before the primary does."""
        world.append(1, kept_s=-1.0)
        world.append(2)
        known = head()
        world.trim()
        world.replicate()
        found = DatabaseReplica(world.copy).read(
            [world.reader(world.phone)], known, known.position, 10
        )
        assert payloads(found.page) == ["eric-reset", 2]

    def test_a_listener_that_it_lacks_is_not_read_from_it(self, world):
        world.append(1)
        world.replicate()
        new = Listener.objects.create(channel_id=world.channel, name="new")
        assert self.read(world, world.reader(new.pk)) is None
        assert self.read(world, world.reader(world.phone), world.reader(new.pk)) is None

    def test_what_waits_is_counted_where_all_is(self, world, settings):
        settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": 3}
        world.append(*range(5))
        world.replicate()
        assert self.read(world) is None
        page = world.log.read([world.reader(world.phone)], None, 2)
        assert payloads(page) == ["eric-reset", 2]
        reader = world.reader(world.phone)._replace(after=page.reached)
        assert payloads(self.read(world, reader).page) == [3, 4]

    def test_one_before_the_histories_beginning_is_late(self, world):
        world.append(1)
        world.replicate()
        log.begin_history()
        assert self.read(world, world.reader()) is None
        world.append(2)
        assert self.read(world, world.reader()) is None
        world.replicate()
        assert payloads(self.read(world, world.reader()).page) == [1, "eric-reset", 2]

    def test_one_that_was_written_to_is_of_another_log(self, world, monkeypatch):
        world.append(1)
        world.replicate()
        monkeypatch.setattr("tests.router.SelectedDatabaseRouter.alias", world.copy)
        world.append("only there")
        monkeypatch.undo()
        known = head()
        found = self.read(world, upto=known.position + 1)
        assert payloads(found.page) == [1]
        world.append(2)
        with pytest.raises(log.AnotherLog):
            self.read(world)
        world.append(3)  # the replica is late now
        found = self.read(world)
        assert not found.is_proven
        assert not log.is_as_known(found.head)

    def test_one_with_another_identity_is_of_another_log(self, world):
        world.append(1)
        world.replicate()
        LogHead.objects.using(world.copy).update(identity="another")
        LogHead.objects.update(identity="this")
        with pytest.raises(log.AnotherLog):
            self.read(world)

    def test_one_without_a_head_is_late(self, world):
        world.append(1)
        LogHead.objects.using(world.copy).all().delete()
        assert self.read(world) is None


def test_no_replica_is_the_default(settings):
    settings.ERIC_SSE = {}
    assert log.DATABASE.replica() is None
    settings.ERIC_SSE = {"REPLICA": "copy"}
    assert isinstance(log.DATABASE.replica(), replica.DatabaseReplica)
    assert log.MemoryLog().replica() is None
