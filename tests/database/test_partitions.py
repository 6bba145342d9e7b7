"""A log in partitions: all that every log guarantees, and what expires is dropped whole."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connections, transaction
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.log import dialect, partitions, sequencer
from eric_sse_django.models import Channel, Listener, LogHead, QueuedMessage
from tests.databases import on, postgres_only
from tests.log_contract import DAY_S, LogContract, World

SIZE = 1_000
TABLE = QueuedMessage._meta.db_table


def forget():
    """Make this process find again whether the table is in partitions, as after its start."""
    sequencer.statements.cache_clear()
    dialect.is_partitioned.cache_clear()


def make_world():
    """Return a world in the test's database."""
    channel, other = (DatabaseChannel.create(name) for name in ("orders", "bills"))
    ana, bob = (User.objects.create(username=name) for name in ("ana", "bob"))
    phone, laptop, till = (channel.add_listener(owner).row.pk for owner in (ana, ana, None))
    keys = channel.row.pk, other.row.pk, phone, laptop, till, ana.pk, bob.pk
    return World(log.DATABASE, *keys)


@pytest.fixture
def plain(database, settings):
    """Return a world; the table is a plain one again after the test."""
    settings.ERIC_SSE = {}
    yield make_world()
    forget()
    connection = connections[database]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE} CASCADE")
    with connection.schema_editor() as editor:
        editor.create_model(QueuedMessage)


@pytest.fixture
def world(plain):
    """Return a world whose log is in partitions."""
    call_command("eric_partition", "--apply", "--size", str(SIZE), verbosity=0)
    forget()
    return plain


def on_a_thread(function):
    """Return what function() returns, by another connection."""

    def call():
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(call).result(30)


def found():
    """Return the partitions: first and end of each."""
    return [each[1:] for each in partitions.partitions_of(log.log_dialect())]


def go_on_at(position):
    """Give the next positions after this one."""
    values = {"position": position, "marked": position}
    LogHead.objects.update_or_create(pk=LogHead.THE_ONE, defaults=values)


def age(seconds=3_600.0):
    """Make all messages older."""
    past = timezone.now() - timedelta(seconds=seconds)
    QueuedMessage.objects.update(expires_at=past)


@pytest.mark.usefixtures("no_notifier")
class TestThePartitionedLog(LogContract):
    pytestmark = postgres_only

    @pytest.fixture
    def world(self, world, monkeypatch):
        monkeypatch.setattr(partitions, "ALONE_S", 0.0)
        return world

    def on_a_thread(self, function, *args):
        try:
            return function(*args)
        finally:
            connections.close_all()


@pytest.mark.usefixtures("no_notifier")
class TestConverting:
    @postgres_only
    def test_messages_positions_and_keys_continue(self, plain):
        plain.append(1, 2)
        plain.log.append([plain.draft(3)])
        keys = list(QueuedMessage.objects.order_by("id").values_list("id", flat=True))
        head = plain.log.head()
        call_command("eric_partition", "--apply", "--size", str(SIZE), verbosity=0)
        assert plain.log.head() == head
        assert list(QueuedMessage.objects.order_by("id").values_list("id", flat=True)) == keys
        plain.sequence()
        plain.append(4)
        assert plain.read(plain.reader()) == [1, 2, 3, 4]
        assert QueuedMessage.objects.latest("id").pk > keys[-1]
        assert found() == [
            (0, head.position + SIZE),
            (head.position + SIZE, head.position + 2 * SIZE),
        ]

    @postgres_only
    def test_it_prints_what_it_would_execute(self, plain, capsys):
        call_command("eric_partition")
        text = capsys.readouterr().out
        assert text.startswith("BEGIN;\nLOCK TABLE")
        assert text.endswith("COMMIT;\n")
        assert found() == []
        with connections[log.database()].cursor() as cursor:
            cursor.execute(text)
        forget()
        assert len(found()) == 2
        plain.append(1)
        assert plain.read(plain.reader()) == [1]

    @postgres_only
    def test_it_is_done_once(self, world):
        with pytest.raises(CommandError, match="already"):
            call_command("eric_partition", "--apply")

    @on("sqlite", "mariadb")
    def test_other_databases_have_none(self, database):
        with pytest.raises(CommandError, match="Only PostgreSQL"):
            call_command("eric_partition")
        assert log.trim() == 0


@pytest.mark.usefixtures("no_notifier")
class TestDropping:
    pytestmark = postgres_only

    def test_a_partition_is_dropped_when_all_its_messages_have_expired(self, world):
        world.append(0)
        world.append("to the phone", listener=world.phone)
        world.append("to ana", owner=world.ana)
        lost = world.log.head().position
        go_on_at(world.start + SIZE)
        world.append(1)
        age()
        QueuedMessage.objects.filter(position__gt=lost).update(expires_at=timezone.now())
        first = found()[0]
        assert world.trim() == 3
        assert first not in found()
        assert Channel.objects.get(pk=world.channel).floor == lost - 2
        floors = dict(Listener.objects.values_list("pk", "floor"))
        assert floors == {world.phone: lost, world.laptop: lost, world.till: 0}
        assert LogHead.objects.get().trimmed == lost
        for reader in (world.reader(world.phone, world.ana), world.reader(world.till)):
            assert world.read(reader)[-1] == 1
            assert world.read(reader).count("eric-reset") >= 1
        assert world.read(world.reader(channel=world.other)) == []

    def test_what_has_expired_by_its_lifetime_is_no_loss(self, world):
        world.append("expired", perishable=True, kept_s=-3_600.0)
        world.append(5, type="eric-x", listener=world.phone)
        go_on_at(world.start + SIZE)
        age()
        assert world.trim() == 2
        assert world.read(world.reader(world.phone)) == []
        assert LogHead.objects.get().trimmed > 0

    def test_one_message_that_is_kept_keeps_its_partition(self, world):
        world.append(0, 1)
        age()
        world.append("kept", kept_s=30 * DAY_S)
        go_on_at(world.start + SIZE)
        assert world.trim() == 0
        assert world.read(world.reader()) == [0, 1, "kept"]
        age(partitions.ALONE_S + 60)  # a day later they are removed alone
        QueuedMessage.objects.filter(payload='"kept"').update(
            expires_at=timezone.now() + timedelta(days=30)
        )
        assert world.trim() == 2
        assert world.read(world.reader()) == ["eric-reset", "kept"]

    def test_a_partition_that_gets_messages_is_not_dropped(self, world):
        world.append(0)
        age()
        before = found()
        assert world.trim() == 0
        assert found() == before

    def test_a_listener_that_others_have_locked_keeps_it(self, world):
        world.append(1, listener=world.phone)
        go_on_at(world.start + SIZE)
        age()
        with transaction.atomic(using=log.database()):
            Listener.objects.select_for_update().get(pk=world.phone)
            assert on_a_thread(log.trim) == 0
        assert world.trim() == 1
        assert world.read(world.reader(world.phone)) == ["eric-reset"]

    def test_publishers_do_not_wait_long_for_a_drop_that_waits(self, world, caplog):
        caplog.set_level("INFO")
        world.append(1)
        go_on_at(world.start + SIZE)
        world.trim()
        age()
        with transaction.atomic(using=log.database()):
            assert world.read(world.reader()) == [1]  # a dump holds such a lock for long
            began = time.monotonic()
            assert on_a_thread(log.trim) == 0
            assert time.monotonic() - began < 5
        assert "others use the table" in caplog.text
        assert world.trim() == 1

    def test_the_next_one_is_added_when_the_last_one_is_in_use(self, world):
        bounds = found()
        last = bounds[-1]
        world.trim()
        assert found() == bounds
        go_on_at(last[0])
        world.append(1)
        world.trim()
        assert found()[-1] == (last[1], last[1] + SIZE)
        assert world.read(world.reader()) == [1]

    def test_positions_that_are_given_meanwhile_delay_the_next_one_and_fail_no_trim(
        self, world, monkeypatch
    ):
        _, end = found()[-1]
        go_on_at(end - 1)
        before = log.head()
        world.append(1, 2, 3)  # some of them in the default partition
        with monkeypatch.context() as patch:
            patch.setattr(partitions, "head", lambda: before)
            assert world.trim() == 0
        world.trim()
        assert found()[-1][0] > end
        assert world.read(world.reader()) == [1, 2, 3]

    def test_an_error_that_no_other_process_has_caused_is_raised(self, world, monkeypatch):
        def fail(*_):
            raise ProgrammingError("permission denied")

        monkeypatch.setattr(partitions, "_extend", fail)
        with pytest.raises(ProgrammingError):
            world.log.trim()

    def test_a_new_history_gets_partitions(self, world):
        world.append(1)
        base = log.begin_history().position
        world.append(2)  # in the default partition
        age()
        assert world.trim() == 1  # the earlier history's partition
        first, end = found()[-1]
        assert base < first < end
        world.append(3, 4)
        go_on_at(first)
        world.append(5)
        assert world.read(world.reader())[-4:] == [2, 3, 4, 5]
        world.trim()
        assert found()[-1] == (end, end + SIZE)


@pytest.mark.usefixtures("no_notifier")
@postgres_only
def test_publishing_continues_while_partitions_come_and_go(world):
    """Publishers, sequencers and trims at once: nobody fails, and nothing is lost unnoticed."""

    def publish():
        for _ in range(60):
            world.log.append([world.draft(1, kept_s=-3_600.0)] * 20)
            world.log.sequence()

    def trim():
        return sum(world.log.trim() for _ in range(40))

    def call(function):
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(call, each) for each in (publish, trim) * 3]
        removed = sum(each.result(60) for each in calls[1::2])
        for each in calls:
            each.result(60)
    world.sequence()
    removed += world.trim()
    left = list(QueuedMessage.objects.values_list("position", flat=True))
    assert removed + len(left) == 3 * 60 * 20
    assert removed > SIZE
    assert len(set(left)) == len(left)
    page = world.log.read([world.reader()], None, 10_000)
    assert "eric-reset" in {entry.type for entry in page}
    assert [entry.position for entry in page if entry.type == "n"] == sorted(left)


@pytest.mark.usefixtures("no_notifier")
@postgres_only
def test_a_look_and_a_read_concern_one_partition(world):
    for number in range(5):
        go_on_at(world.start + number * SIZE)
        world.append(number)
        world.trim()
    head = world.log.head().position

    def tables(statement, params):
        with connections[log.database()].cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", params)
            text = json.dumps(cursor.fetchone()[0])
        return set(re.findall(rf'"Relation Name": "{TABLE}_(\w+)"', text))

    _, gives = sequencer.statements(log.database(), 10).at_once_returning.split(";")
    assert tables(gives, []) == {"others"}
    assert tables(log.log_dialect().waits, []) == {"others"}
    newest = f"SELECT * FROM {TABLE} WHERE position >= %s AND position <= %s ORDER BY position"
    [last] = tables(newest, [head, head + 5])
    assert int(last) <= head < int(last) + SIZE
