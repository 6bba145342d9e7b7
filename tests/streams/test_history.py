"""A database that goes back: every message that is published from then on is delivered."""

import json
import os
import shutil
from collections import Counter
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core import serializers
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.database import DatabaseChannel, operations
from eric_sse_django.entry import RESET
from eric_sse_django.hub import Hub
from eric_sse_django.log import history
from eric_sse_django.log import reader as log_reader
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, LogHead, QueuedMessage
from eric_sse_django.streaming import Stream, Subscription
from eric_sse_django.workers import Workers
from tests.emptying import empty
from tests.going_back import Backup
from tests.streams.reading import Site

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
async def site(database):
    """Return a Site with the channel "orders", on each of the databases."""
    site = Site(await DatabaseChannel.acreate("orders"))
    yield site
    await site.close()


@pytest.fixture(autouse=True)
def unwatched(settings):
    """Make the hub read the log only when a test calls look()."""
    settings.ERIC_SSE = {"POLL_INTERVAL_S": 300, "SQLITE_LOOK_INTERVAL_S": 300}


async def backup(database):
    return await sync_to_async(Backup)(database)


def place():
    """Give positions and wake no hub, as other processes do."""
    while log.sequence():
        pass


async def publish_unseen(site, *payloads):
    """Publish and give positions, and wake no hub."""

    def publish():
        rows = [log.row(site.channel.row, Message("n", payload)) for payload in payloads]
        log.append(rows)
        place()

    await sync_to_async(publish)()


async def at_start(site, database, count=10):
    """Return a listener that was sent messages 1 to `count`, its reader, and a backup of then."""
    listener = await site.listener()
    reader = await site.read(listener)
    await site.publish(*range(1, count + 1))
    await reader.count(count)
    await site.hub.records.write()
    await listener.arefresh_from_db()
    return listener, reader, await backup(database)


async def lose(site, reader, count=50):
    """Deliver messages that the database is going to lose; return the client's last id."""
    await site.publish(*(f"lost {number}" for number in range(count)))
    await reader.until(lambda: len(reader.events) >= count)
    return int(reader.reader.last_event_id)


async def look(site):
    await site.hub.follower.look()


def payloads(reader):
    return [json.loads(event.data) for event in reader.events if event.type == "n"]


def resets(reader):
    return [event for event in reader.events if event.type == RESET]


@pytest.mark.parametrize("published", [5, 50, 55])
@pytest.mark.parametrize("has_id", [True, False])
async def test_messages_after_a_restore_are_delivered_with_one_reset(
    site, database, published, has_id
):
    listener, reader, before = await at_start(site, database)
    last = await lose(site, reader)
    await sync_to_async(before.restore)()
    new = [f"new {number}" for number in range(published)]
    await publish_unseen(site, *new)
    await look(site)
    assert await reader.ended() == "history"
    client = await site.read(listener, last if has_id else None)
    await client.count(published + 1)
    assert payloads(client) == new
    assert len(resets(client)) == 1
    # What it has now is of this history: no other reset, and nothing is sent again.
    again = await site.read(listener, int(client.reader.last_event_id))
    await site.publish("later")
    await site.at_head()
    assert await again.count(1) == ['"later"']


@pytest.mark.parametrize("published", [5, 55])
async def test_a_client_with_an_earlier_id_misses_nothing_on_another_process(
    site, database, published
):
    listener, reader, before = await at_start(site, database)
    last = await lose(site, reader)
    await Hub.close_all()  # nobody remembers
    await sync_to_async(before.restore)()
    await sync_to_async(call_command)("eric_restored", verbosity=0)
    new = [f"new {number}" for number in range(published)]
    await publish_unseen(site, *new)
    client = await site.read(listener, last)
    await client.count(published + 1)
    assert payloads(client) == new
    assert len(resets(client)) == 1
    watcher = await site.read(None, last)
    await watcher.count(published + 1)
    assert payloads(watcher) == new
    assert len(resets(watcher)) == 1


async def test_an_unwritten_cursor_of_an_earlier_history_is_not_written(site, database):
    listener, reader, before = await at_start(site, database)
    await lose(site, reader)
    assert site.hub.records.cursors.dirty
    await sync_to_async(before.restore)()
    words = site.hub.records.final_calls()
    await publish_unseen(site, *range(55))
    await site.hub.records.write()
    for function, *args in words:  # as a process that ends before it has looked
        await sync_to_async(function)(*args)
    await listener.arefresh_from_db()
    assert listener.cursor <= 10


async def test_a_stream_that_ends_with_its_history_writes_no_cursor(site, database):
    listener, reader, before = await at_start(site, database)
    reader.open.clear()
    await site.publish("on its way")
    await site.at_head()
    await sync_to_async(before.restore)()
    await publish_unseen(site, "new")
    await look(site)
    reader.open.set()
    assert await reader.ended() == "history"
    await site.hub.records.write()
    await listener.arefresh_from_db()
    assert listener.cursor <= 10


@pytest.mark.parametrize("is_watcher", [False, True])
async def test_keys_that_are_given_again_give_no_access_to_the_streams_of_others(
    site, database, is_watcher
):
    before = await backup(database)
    other = await DatabaseChannel.acreate("hers")
    hers = await other.aadd_listener(listener_id="hers")
    await hers.astart()
    stream_of = Site(other)
    reader = await stream_of.read(None if is_watcher else hers.row)
    await site.publish(1, 2, 3)
    await site.at_head()
    await sync_to_async(before.restore)()
    his_channel = await DatabaseChannel.acreate("his")
    his = await his_channel.aadd_listener(listener_id="his")
    await his.astart()
    assert (his_channel.row.pk, his.row.pk) == (other.row.pk, hers.row.pk)
    await his_channel.abroadcast(Message("n", "for his channel"))
    await his_channel.adispatch("his", Message("n", "for him"))
    await sync_to_async(notifier.flush)()
    await look(site)
    assert await reader.ended() == "history"
    assert "his" not in "".join(map(str, reader.events))
    await stream_of._stack.aclose()


async def test_a_database_that_is_emptied_ends_its_streams(site, database, caplog):
    _, reader, _ = await at_start(site, database)
    await sync_to_async(lambda: empty(connections[database]))()
    again = Site(await DatabaseChannel.acreate("orders"))
    anew = await again.listener()
    await publish_unseen(again, "first")
    await look(site)
    assert await reader.ended() == "history"
    client = await again.read(anew, int(reader.reader.last_event_id))
    await client.count(2)
    assert payloads(client) == ["first"]
    assert len(resets(client)) == 1
    assert caplog.text.count("the log has another history") == 1
    await again._stack.aclose()


async def test_a_process_that_begins_after_the_log_was_lost_ends_no_stream_later(site, database):
    """Listeners stay, whose positions are of the log before."""
    listener, _, _ = await at_start(site, database)
    await Hub.close_all()

    def lose_the_log():
        for model in (QueuedMessage, LogHead):
            model.objects.using(database).all().delete()

    await sync_to_async(lose_the_log)()
    reader = await site.read(listener)
    await publish_unseen(site, "new")
    await Hub.for_running_loop().follower.look()
    await reader.until(lambda: payloads(reader) == ["new"])
    assert reader.stream.reason is None


async def test_each_process_ends_its_streams_also_if_another_has_begun_the_history(site, database):
    _, reader, _ = await at_start(site, database)
    begun = await sync_to_async(log.begin_history)(site.hub.follower.position)
    await look(site)
    assert await reader.ended() == "history"
    assert site.hub.follower.position == begun.position
    assert (await LogHead.objects.aget()).position == begun.position


async def test_a_stream_that_begins_as_its_history_ends_is_ended(site, database):
    """As one that is read in Python, which is not looked up again: it would note no cursor."""
    listener, reader, before = await at_start(site, database)
    last = await lose(site, reader)
    await sync_to_async(before.restore)()
    async with Stream(site.hub, [Subscription(site.channel.row, listener)], last + 1) as stream:
        assert await reader.ended() == "history"
        assert stream.reason == "history"


async def test_a_trim_of_all_messages_begins_no_history(site, database):
    _, reader, _ = await at_start(site, database)

    def trim_all():
        rows = QueuedMessage.objects.all()
        rows.update(expires_at=rows.order_by("created_at")[0].created_at)
        assert log.trim() == 10

    await sync_to_async(trim_all)()
    await look(site)
    await site.publish("new")
    await reader.count(11)
    assert reader.stream.reason is None


async def test_the_removal_of_a_channels_messages_begins_no_history(site, database):
    _, reader, _ = await at_start(site, database)
    other = await DatabaseChannel.acreate("short")
    await other.abroadcast(Message("n", 1))
    await site.at_head()
    await sync_to_async(lambda: Channel.objects.get(name="short").delete())()
    await site.publish("new")
    await reader.count(11)
    assert reader.stream.reason is None


async def test_an_upgrade_of_a_busy_log_begins_no_history(site, database, monkeypatch):
    """The head takes the database's name while others give positions."""
    await site.at_head()
    await publish_unseen(site, 1)
    highest = history.highest

    def highest_of_a_busy_log():
        log.append([log.row(site.channel.row, Message("n", "meanwhile"))])
        place()
        return highest()

    def first_look():
        heads = LogHead.objects.using(database)
        heads.update(identity="")
        before = heads.values_list("position", flat=True).get()
        connections[database].close()
        return before, log.follow(), heads.values_list("identity", flat=True).get()

    monkeypatch.setattr(history, "highest", highest_of_a_busy_log)
    before, head, name = await sync_to_async(first_look)()
    assert log.number_of(head.position) == log.number_of(before)
    assert name


async def test_listeners_that_are_loaded_into_a_fresh_database_get_new_messages(site, database):
    listener, _, _ = await at_start(site, database, count=30)

    def move():
        rows = [*Channel.objects.all(), *Listener.objects.all()]
        text = serializers.serialize("json", rows)
        empty(connections[database])
        for loaded in serializers.deserialize("json", text, using=database):
            loaded.save()

    await site.close()
    await sync_to_async(move)()
    await publish_unseen(site, *range(5))
    client = await site.read(listener)
    await client.count(6)
    assert payloads(client) == list(range(5))
    assert len(resets(client)) == 1


async def test_listeners_that_are_loaded_beside_a_log_that_is_behind_get_new_messages(
    site, database
):
    await site.publish(1)
    await site.at_head()

    def load():
        row = Listener(channel=site.channel.row, name="moved", running=True, start=20, cursor=30)
        text = serializers.serialize("json", [row])
        for loaded in serializers.deserialize("json", text, using=database):
            loaded.save()
        return Listener.objects.get(name="moved")

    moved = await sync_to_async(load)()
    await publish_unseen(site, *range(40))
    await look(site)
    client = await site.read(moved)
    await client.until(lambda: len(payloads(client)) >= 40)
    assert payloads(client)[-40:] == list(range(40))


async def test_a_listener_with_a_cursor_above_the_head_gets_a_reset_and_all_messages(site):
    listener = await site.listener()
    await site.publish(1)
    head = await site.at_head()
    await Listener.objects.aupdate(cursor=head + 20)  # no process is notified
    client = await site.read(listener)
    await site.publish(2)
    await client.count(3)
    assert [event.type for event in client.events] == [RESET, "n", "n"]
    assert payloads(client) == [1, 2]


async def test_a_stream_of_an_owner_that_was_lost_ends(site, database):
    before = await backup(database)
    ada = await User.objects.acreate(username="ada")
    reader = await site.read(await site.listener(ada))
    await site.publish(1)
    await reader.count(1)
    await sync_to_async(before.restore)()
    await look(site)
    assert await reader.ended() == "history"


async def test_an_open_stream_gets_a_reset_for_messages_that_were_removed_unread(site, database):
    """As by a publisher whose clock is more than the retention behind, or after a long pause."""
    _, reader, _ = await at_start(site, database)
    await publish_unseen(site, *range(100))

    def trim_some():
        rows = QueuedMessage.objects.filter(payload__in=map(str, range(60, 80)))
        rows.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert log.trim() == 20

    await sync_to_async(trim_some)()
    await look(site)
    await reader.count(10 + 80 + 1)
    assert payloads(reader)[10:] == [*range(60), *range(80, 100)]
    [reset] = resets(reader)
    assert reader.events.index(reset) == 10 + 60
    assert reader.stream.reason is None


async def test_no_stream_reads_the_log_when_a_lifetime_ends(site, database):
    """Also where a message came and went between two polls, as on sites without a layer."""
    _, reader, _ = await at_start(site, database)

    def publish_and_trim(ago_s):
        log.append([log.row(site.channel.row, Message("n", "typing"), expires_in_s=5)])
        place()
        rows = QueuedMessage.objects.filter(perishable=True)
        rows.update(expires_at=timezone.now() - timedelta(seconds=ago_s))
        return log.trim()

    assert await sync_to_async(publish_and_trim)(30) == 0
    await look(site)
    assert not reader.stream.reader.behind
    poll_s = 300
    assert await sync_to_async(publish_and_trim)(poll_s + 90) == 2


class TestAnOperatorsReplay:
    @pytest.fixture
    async def since(self, site, database):
        """Return a listener that was sent ten messages, its reader, and the time before those."""
        since = timezone.now() - timedelta(hours=1)
        listener = await site.listener()
        await site.publish(*range(1, 11))
        reader = await site.read(listener)
        await reader.count(10)
        return listener, reader, since

    async def test_is_not_undone_by_a_cursor_that_was_not_written_yet(self, site, since):
        listener, reader, since = since
        site.hub.records.due = lambda now: False  # the timer's round is yet to come
        await reader.__aexit__()
        assert site.hub.records.cursors.dirty
        await sync_to_async(operations.replay)([listener], since)
        again = await site.read(listener)
        assert await again.count(10) == list(map(str, range(1, 11)))
        await again.__aexit__()
        await site.hub.records.write()
        await listener.arefresh_from_db()
        assert listener.cursor >= again.ids[-1]

    async def test_is_not_undone_by_what_another_process_is_about_to_write(self, site, since):
        listener, reader, since = since
        words = site.hub.records.final_calls()
        await site.hub.records.write()
        await sync_to_async(operations.replay)([listener], since)
        await listener.arefresh_from_db()
        back = listener.cursor
        assert back < reader.ids[0]
        for function, *args in words:
            await sync_to_async(function)(*args)
        await listener.arefresh_from_db()
        assert listener.cursor == back

    async def test_voids_the_positions_reached_before_it_also_if_the_stored_cursor_is_lower(
        self, site, since
    ):
        listener, reader, _ = since
        words = site.hub.records.final_calls()  # nothing of it is stored
        await sync_to_async(operations.replay)([listener], timezone.now() - timedelta(hours=1))
        for function, *args in words:
            await sync_to_async(function)(*args)
        await listener.arefresh_from_db()
        assert listener.cursor < reader.ids[0]

    async def test_moves_open_streams_back_whose_cursor_is_then_written_again(self, site, since):
        listener, reader, since = since
        await sync_to_async(operations.replay)([listener], since)
        await site.at_head()
        await reader.count(20)
        await site.hub.records.write()
        await listener.arefresh_from_db()
        assert (listener.cursor >= reader.ids[-1], listener.replays) == (True, 1)


class TestAFileThatIsReplaced:
    @pytest.fixture(autouse=True)
    def only_sqlite(self, database):
        if connections[database].vendor != "sqlite":
            pytest.skip("a SQLite file")
        yield
        connections[database].close()  # it may be one to the file of before

    async def test_its_streams_end_and_messages_of_the_new_file_are_delivered(
        self, site, database, tmp_path
    ):
        listener, reader, _ = await at_start(site, database)
        name = str(connections[database].settings_dict["NAME"])
        copy = tmp_path / "copy"

        def checkpoint(to):
            with connections[database].cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copy(name, to)

        await sync_to_async(checkpoint)(copy)
        last = await lose(site, reader)

        def replace():
            connections.close_all()
            for suffix in ("-wal", "-shm"):
                if os.path.exists(name + suffix):
                    os.remove(name + suffix)
            os.replace(copy, name)

        await sync_to_async(replace)()
        await publish_unseen(site, *range(55))
        await look(site)
        assert await reader.ended() == "history"
        client = await site.read(listener, last)
        await client.count(56)
        assert payloads(client) == list(range(55))
        assert len(resets(client)) == 1

    async def test_one_that_is_replaced_before_the_second_call_is_noticed(
        self, site, database, tmp_path
    ):
        name = str(connections[database].settings_dict["NAME"])

        def copy():
            with connections[database].cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connections[database].close()
            shutil.copy(name, tmp_path / "copy")

        def connection():
            log.head()
            return connections[database].connection

        await sync_to_async(copy)()
        hub_thread = Workers("test", lambda: 10.0, Counter(), before=log.connected)
        try:
            before = await hub_thread.run(connection)
            os.replace(tmp_path / "copy", name)
            assert await hub_thread.run(connection) is not before
        finally:
            hub_thread.close()

    async def test_no_empty_file_is_created_while_there_is_none(self, site, database, tmp_path):
        name, away = str(connections[database].settings_dict["NAME"]), tmp_path / "away"
        hub_thread = Workers("test", lambda: 10.0, Counter(), before=log.connected)
        try:
            for _ in range(2):
                await hub_thread.run(log.head)
            os.rename(name, away)
            try:
                await hub_thread.run(log.head)
                assert not os.path.exists(name)
            finally:
                os.replace(away, name)
        finally:
            hub_thread.close()


class TestARemovalBetweenTwoQueriesOfALook:
    """Whatever is removed while the hub looks is known by its position, as at any other time."""

    @pytest.fixture
    def remove(self, monkeypatch):
        """Return a function: the messages are removed after the next query of the log's head."""

        def remove(*payloads):
            see = history.see_by

            def see_and_remove(cursor, using):
                monkeypatch.setattr(log_reader, "see_by", see)
                seen = see(cursor, using)
                rows = QueuedMessage.objects.filter(payload__in=map(str, payloads))
                rows.update(expires_at=timezone.now() - timedelta(seconds=1))
                assert log.trim() == len(payloads)
                return seen

            monkeypatch.setattr(log_reader, "see_by", see_and_remove)

        return remove

    @pytest.mark.parametrize("gone", [range(20, 30), range(20, 40)])
    async def test_causes_a_reset(self, site, database, remove, gone):
        _, reader, _ = await at_start(site, database)
        await publish_unseen(site, *range(20, 40))
        remove(*gone)
        await look(site)
        if connections[database].vendor == "postgresql":
            return  # one query
        await reader.until(lambda: resets(reader) and len(reader.events) >= 31 - len(gone))
        assert payloads(reader)[10:] == sorted({*range(20, 40)} - {*gone})
        assert len(resets(reader)) == 1
        assert reader.stream.reason is None

    async def test_begins_no_history(self, site, database, remove):
        _, reader, _ = await at_start(site, database)
        await publish_unseen(site, *range(20, 40))
        remove(10)
        await look(site)
        if connections[database].vendor == "postgresql":
            return  # one query
        await reader.count(30)
        assert payloads(reader)[10:] == [*range(20, 40)]
        assert reader.stream.reason is None

    async def test_does_not_prevent_the_write_of_cursors(self, site, database, remove):
        await at_start(site, database)
        known = site.hub.follower.known
        await publish_unseen(site, 20)
        remove(10)
        assert await sync_to_async(log.is_as_known)(known)

    async def test_between_two_reads_causes_a_reset(self, site, database, monkeypatch):
        """Where more waits than is read at once."""
        _, reader, _ = await at_start(site, database)
        await publish_unseen(site, *range(20, 40))
        site.hub.follower._limit.rows = 5
        run, reads = site.hub.follower._run, []

        def trim():
            rows = QueuedMessage.objects.filter(payload__in=map(str, range(30, 35)))
            rows.update(expires_at=timezone.now() - timedelta(seconds=1))
            assert log.trim() == 5

        async def read(function, *args):
            reads.append(function)
            if len(reads) == 2:
                await sync_to_async(trim)()
            return await run(function, *args)

        monkeypatch.setattr(site.hub.follower, "_run", read)
        await look(site)
        await reader.until(lambda: len(reader.events) >= 10 + 16)
        assert payloads(reader)[10:] == [*range(20, 30), *range(35, 40)]
        assert len(resets(reader)) == 1
        assert reader.stream.reason is None
