"""Behind PgBouncer: transaction pooling works, statement pooling cannot."""

import asyncio

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connections, transaction

from eric_sse_django import log, notifier
from eric_sse_django.authorization import revoke
from eric_sse_django.database import DatabaseChannel, channel, operations
from eric_sse_django.doctor import GOOD, clocks, databases
from eric_sse_django.hub import Hub
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import listen, publish
from tests.conftest import missing
from tests.contract import count
from tests.database.tools import PATIENCE_S, atomic, entries, threads
from tests.databases import postgres_only
from tests.servers import PgBouncer
from tests.streams.reading import Site


@pytest.fixture
def mode():
    return "transaction"


@pytest.fixture
def pooled(database, mode, database_servers, monkeypatch):
    """Route all connections through a PgBouncer."""
    reason = PgBouncer.absence()
    if reason is not None:
        missing(reason)
    connection = connections[database]
    with PgBouncer(database_servers["postgres"].port, mode) as pooler:
        connection.close()
        for settings in (connections.settings[database], connection.settings_dict):
            monkeypatch.setitem(settings, "PORT", str(pooler.port))
        yield pooler
        notifier.close()
        connections.close_all()
        monkeypatch.undo()


@postgres_only
def test_what_gets_positions_is_passed_on_with_transaction_pooling(database, pooled, monkeypatch):
    monkeypatch.setattr(notifier.Notifier, "_plan", lambda self: None)
    orders, segments, known = DatabaseChannel.create("orders"), [], log.follow()
    for number in range(3):
        orders.broadcast_many([count(number)] * 2)
        assert log.sequence(segments.append) == 2
    for segment in segments:
        assert log.is_next(segment, known)
        known = segment.known
    assert [each.position for s in segments for each in s.entries] == [
        each.position for each in entries()
    ]


@postgres_only
def test_the_doctor_finds_nothing_wrong_with_transaction_pooling(database, pooled):
    found = [*databases.examine(), *clocks.examine()]
    assert {each.id for each in found if each.level != GOOD} <= {"database.durability"}


@postgres_only
def test_all_operations_work_with_transaction_pooling(database, pooled, monkeypatch):
    monkeypatch.setattr(channel, "PAGE_ROWS", 3)
    orders = DatabaseChannel.create("orders")
    user = User.objects.create(username="ana")
    listeners = [orders.add_listener(listener_id=f"l{number}") for number in range(10)]
    for listener in listeners:
        listener.start()
    own = listen("orders", user)

    def publish_some():
        with atomic():
            for number in range(5):
                publish("orders", "count", number)
        orders.broadcast_many(count(number) for number in range(5, 10))

    with threads() as others:
        for _ in range(6):
            others.start(publish_some)
    assert notifier.flush(PATIENCE_S)
    assert len(entries()) == 60
    # More than a page, with other statements in between.
    ids = []
    for found in orders.get_connections():
        publish("orders", "count", 10)
        ids.append(found.listener.id)
    assert ids == sorted([own.id, *(listener.id for listener in listeners)])
    orders.dispatch_to_owner(user, count(11))
    taken = [orders.deliver_next(own.id).payload for _ in range(72)]
    assert taken[-1] == 11
    operations.disconnect([own.row])
    own.stop()
    revoke(user=user)
    assert notifier.flush(PATIENCE_S)
    QueuedMessage.objects.update(expires_at="2000-01-01T00:00:00Z")
    while log.trim():
        pass
    assert len(entries()) == 0


@postgres_only
async def test_streams_read_with_transaction_pooling(database, pooled):
    site = Site(await DatabaseChannel.acreate("orders"))
    readers = [await site.read(await site.listener()) for _ in range(3)]
    for number in range(20):
        await site.publish(number)
    for reader in readers:
        assert await asyncio.wait_for(reader.count(20), 20) == list(map(str, range(20)))
    await site.close()
    await Hub.close_all()


@postgres_only
@pytest.mark.parametrize("mode", ["statement"])
def test_statement_pooling_refuses_transactions(database, pooled, mode):
    with pytest.raises(DatabaseError), transaction.atomic(using=database):
        User.objects.create(username="ana")
