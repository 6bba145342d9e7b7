"""Where a stream that is behind reads from: the replica what that has, else the log."""

import asyncio
import random
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from eric_sse_django import log
from eric_sse_django.hub import backlogs
from eric_sse_django.models import QueuedMessage
from tests import copies
from tests.databases import on

FAILS = "reading backlogs from the replica failed"


class Replica:
    """A replica of a log in memory: it has what that has up to `head`, or all."""

    def __init__(self, of):
        self.log = of
        self.head = None
        self.error = None
        self.is_proven = True
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def read(self, recipients, known, upto, limit):
        """Answer, raise `error`, or hang until it may answer."""
        self.asked += 1
        assert self.may_answer.wait(30)
        if self.error is not None:
            raise self.error
        head = known if self.head is None else known._replace(position=self.head)
        upto = min(upto, head.position)
        if upto <= min(each.after for each in recipients):
            return None
        return log.Found(self.log.read(recipients, upto, limit), upto, head, self.is_proven)


@pytest.fixture
async def replica(site):
    """Return the replica of the hub."""
    found = site.hub.backlogs._replica = Replica(site.log)
    yield found
    found.may_answer.set()


async def behind(site, *payloads):
    """Return a listener that has not got these, which are no longer in memory."""
    listener = await site.listener()
    await site.publish(*payloads)
    await site.at_head()
    return listener


async def test_what_the_replica_has_is_read_from_it(site, replica):
    listener = await behind(site, 1, 2, 3)
    assert await (await site.read(listener)).count(3) == ["1", "2", "3"]
    assert site.hub.counters.replica == {"read": 1}


async def test_what_the_replica_lacks_comes_from_the_log_in_the_same_page(site, replica):
    listener = await behind(site, 1)
    replica.head = site.hub.follower.position
    await site.publish(2, 3)
    await site.at_head()
    reader = await site.read(listener)
    assert await reader.count(3) == ["1", "2", "3"]
    await site.publish(4)
    assert await reader.count(4) == ["1", "2", "3", "4"]
    assert replica.asked == 1  # a stream does not follow it


async def test_a_replica_that_is_behind_is_no_outage(site, replica, caplog):
    replica.head = 0
    listener = await behind(site, 1, 2)
    assert await (await site.read(listener)).count(2) == ["1", "2"]
    assert site.hub.counters.replica == {"behind": 1}
    assert "replica" not in caplog.text


async def test_pages_that_are_full_go_on_from_the_replica(site, replica, monkeypatch):
    monkeypatch.setattr("eric_sse_django.streaming.reader.BACKLOG_ROWS", 2)
    listener = await behind(site, *range(5))
    assert await (await site.read(listener)).count(5) == [str(number) for number in range(5)]
    assert site.hub.counters.replica["read"] == 3


async def test_a_replica_that_fails_is_logged_once_and_used_again(site, replica, caplog):
    replica.error = OperationalError("gone")
    listener = await behind(site, 1)
    for _ in range(3):
        assert await (await site.read(listener, listener.start)).count(1) == ["1"]
        site.hub.backlogs._retry_at = float("inf")
    assert replica.asked == 1
    assert caplog.text.count(FAILS) == 1
    for _ in range(2):
        site.hub.backlogs._retry_at = 0.0
        assert await (await site.read(listener, listener.start)).count(1) == ["1"]
    assert replica.asked == 3
    assert caplog.text.count(FAILS) == 1
    replica.error, site.hub.backlogs._retry_at = None, 0.0
    assert await (await site.read(listener, listener.start)).count(1) == ["1"]
    assert "reading backlogs from the replica works again after 3 failures" in caplog.text
    assert site.hub.counters.replica == {"failed": 3, "read": 1}


async def test_a_replica_of_another_history_is_an_outage(site, replica, caplog):
    replica.error = log.AnotherLog("the replica has another history")
    listener = await behind(site, 1)
    assert await (await site.read(listener)).count(1) == ["1"]
    assert FAILS in caplog.text
    assert "the replica has another history" in caplog.text


async def test_a_head_that_the_log_does_not_have_is_an_outage(site, replica, caplog, monkeypatch):
    replica.is_proven = False
    asked = []
    monkeypatch.setattr(backlogs, "is_as_known", lambda head: asked.append(head) or False)
    listener = await behind(site, 1)
    assert await (await site.read(listener)).count(1) == ["1"]
    assert [head.position for head in asked] == [site.hub.follower.position]
    assert site.hub.counters.replica == {"failed": 1}
    assert "a message that the log does not have" in caplog.text


async def test_a_head_that_the_log_has_is_compared_once(site, replica, monkeypatch):
    replica.is_proven = False
    asked = []
    monkeypatch.setattr(backlogs, "is_as_known", lambda head: asked.append(head) or True)
    listener = await behind(site, 1)
    for _ in range(2):
        assert await (await site.read(listener, listener.start)).count(1) == ["1"]
    assert len(asked) == 1
    assert site.hub.counters.replica == {"read": 2}


async def test_a_replica_that_hangs_delays_only_those_that_ask_it_first(
    site, replica, caplog, fast_ticks, monkeypatch
):
    listener = await behind(site, 1)
    live = await site.read()
    replica.may_answer.clear()
    readers = [await site.read(listener, listener.start) for _ in range(3)]
    await site.publish(2)
    assert (await live.count(1))[-1] == "2"  # and live reading not at all
    monkeypatch.setattr(backlogs, "REPLICA_DEADLINE_S", 0.0)
    for reader in readers:
        assert await reader.count(2) == ["1", "2"]
    assert caplog.text.count(FAILS) == 1
    assert site.hub.counters.replica == {"failed": 3}
    asked, site.hub.backlogs._retry_at = replica.asked, float("inf")
    assert asked <= 2  # the next one may have begun before the failure of the first was noticed
    assert await (await site.read(listener, listener.start)).count(2) == ["1", "2"]
    assert replica.asked == asked


async def test_while_it_fails_only_one_stream_tries_it_again(site, replica):
    replica.error = OperationalError("gone")
    listener = await behind(site, 1)
    assert await (await site.read(listener, listener.start)).count(1) == ["1"]
    replica.may_answer.clear()
    site.hub.backlogs._retry_at = 0.0
    first = await site.read(listener, listener.start)
    assert await (await site.read(listener, listener.start)).count(1) == ["1"]
    assert first.events == []
    replica.may_answer.set()
    assert await first.count(1) == ["1"]
    assert replica.asked == 2


async def test_a_stream_that_ends_leaves_the_replica_alone(site, replica):
    listener = await behind(site, 1)
    replica.may_answer.clear()
    first, second = [await site.read(listener, listener.start) for _ in range(2)]
    while len(site.hub.backlogs._asked) < 2 or not replica.asked:
        await asyncio.sleep(0)
    asked = set(site.hub.backlogs._asked)
    for reader in (first, second):
        reader.stream.close()
    await asyncio.wait(asked)  # else the thread may begin the second read before its end
    replica.may_answer.set()
    assert replica.asked == 1


@on("sqlite")
async def test_a_stale_copy_of_the_database_is_read(database, settings, tmp_path, site):
    file = tmp_path / "copy"
    listener = await behind(site, 1, 2)
    await sync_to_async(copies.copy_sqlite)(database, file)
    await site.publish(3)
    await site.close()
    with copies.copy_of(database, NAME=str(file)) as copy:
        settings.ERIC_SSE = {"REPLICA": copy}
        reader = await site.read(listener, listener.start)
        assert await reader.count(3) == ["1", "2", "3"]
        assert site.hub.counters.replica == {"read": 1}
        await site.close()


# A replica that is as late as it likes ---------------------------------------------------------


class Changes:
    """Random changes of a log and its stale copy, and what a listener may get."""

    def __init__(self, seed, database, file, listener):
        self.random = random.Random(seed)
        self._database, self._file, self._listener = database, file, listener
        self.sent = {}  # by position: whether it is to the listener
        self.removed = set()

    def change(self):
        """Change something."""
        weighted = {self.publish: 8, self.replicate: 3, self.trim: 2, self.begin_history: 0.3}
        self.random.choices(list(weighted), list(weighted.values()))[0]()

    def publish(self):
        """Publish some to all or to one listener; a third of them can be removed at once."""
        for _ in range(self.random.randint(1, 4)):
            to = self.random.choice([None, self._listener.pk, self._listener.pk + 1])
            kept_s = self.random.choice([-3_600.0, 3_600.0, 3_600.0])
            channel = self._listener.channel_id
            log.append([log.Draft(channel, kept_s, False, "n", "1", listener=to)])
            log.sequence()
            self.sent[log.head().position] = to in (None, self._listener.pk)

    def replicate(self):
        """Let the copy have all."""
        copies.copy_sqlite(self._database, self._file)

    def trim(self):
        """Remove what can be removed."""
        log.trim()
        left = QueuedMessage.objects.values_list("position", flat=True)
        self.removed = set(self.sent) - set(left)

    def begin_history(self):
        """Begin a history, as after a restore."""
        log.begin_history()

    def check(self, after, head, entries):
        """Check all that a listener read in (after, head]."""
        positions = [entry.position for entry in entries]
        assert positions == sorted(set(positions))
        got = {entry.position for entry in entries if entry.type == "n"}
        resets = [entry.position for entry in entries if entry.type != "n"]
        mine = {each for each, to_me in self.sent.items() if to_me and after < each <= head}
        assert got <= mine
        for lost in mine - got:
            assert lost in self.removed
            assert any(lost <= reset for reset in resets)
        if log.number_of(after) == log.number_of(head) and not mine & self.removed:
            assert resets == []


@on("sqlite")
@pytest.mark.parametrize("seed", range(8))
async def test_whatever_the_replica_lacks_nothing_is_lost_unnoticed(
    database, settings, tmp_path, site, seed
):
    settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": None, "TRIM_INTERVAL_S": 0}
    listener, _ = await site.listener(), await site.listener()
    changes = Changes(seed, database, tmp_path / "copy", listener)
    await site.close()
    await sync_to_async(changes.replicate)()
    with copies.copy_of(database, NAME=str(tmp_path / "copy")) as copy:
        settings.ERIC_SSE = {**settings.ERIC_SSE, "REPLICA": copy}
        hub = site.hub
        for _ in range(25):
            for _ in range(changes.random.randint(1, 4)):
                await sync_to_async(changes.change)()
            head = await site.at_head()
            after = start = changes.random.choice([listener.start, *changes.sent])
            entries = []
            while after < head:
                to = log.Recipient(listener.channel_id, listener.pk, None, after)
                page = await hub.backlogs.read([to], head, changes.random.randint(1, 6))
                assert page.reached > after
                entries += page
                after = page.reached
            changes.check(start, head, entries)
        assert hub.counters.replica["read"] > 3
        assert hub.counters.replica["failed"] == 0
        await site.close()
