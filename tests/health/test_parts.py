"""Each part is red when it does not work, green again by itself, and logged when that changes."""

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from eric_sse_django import notifier
from eric_sse_django.health import PARTS, examine, parts
from eric_sse_django.hub import Hub, all_hubs
from eric_sse_django.models import LogHead
from eric_sse_django.outage import Outage
from eric_sse_django.wakes import channels, layer, sender
from tests.databases import sqlite_only

PATIENCE_S = 10.0


def states(*names, **options):
    return {part.name: part.says for part in examine(names or PARTS, **options)}


def works(name, **options):
    (part,) = examine([name], **options)
    return part.works


def fail(outage):
    try:
        raise ConnectionError("gone")
    except ConnectionError:
        outage.failed()


def test_an_idle_process_works_and_starts_no_thread(fake_parts):
    notifier.close()
    assert all(part.works for part in examine())
    assert states("hub", "notifier") == {"hub": "no streams here", "notifier": "nothing to do yet"}
    assert notifier.started() is None
    assert all_hubs() == []


@pytest.mark.parametrize("name", ["database", "layer"])
def test_a_part_that_fails_is_red_until_it_works_and_shows_no_secret(fake_parts, name):
    fake_parts.fail(name)
    assert not works(name)
    assert states(name) == {name: "OperationalError"}
    fake_parts.failures.clear()
    assert works(name)


def test_parts_that_hang_are_red_within_one_common_bound(fake_parts):
    fake_parts.free.clear()
    began = time.monotonic()
    found = examine(timeout_s=0.2)
    assert time.monotonic() - began < 5
    assert [part.name for part in found if not part.works] == ["database", "layer"]


def test_a_failure_is_logged_once_and_its_end_once(fake_parts, caplog):
    fake_parts.fail("database")
    for _ in range(100):
        assert not works("database")
    fake_parts.failures.clear()
    for _ in range(100):
        assert works("database")
    ours = [record for record in caplog.records if record.name == parts.logger.name]
    assert [(record.levelname, record.getMessage()) for record in ours] == [
        ("ERROR", "health: database does not work: OperationalError"),
        ("WARNING", "health: database works again"),
    ]
    assert "could not connect" in caplog.text  # the cause is in the log, not in the answer


@pytest.mark.django_db(transaction=True)
async def test_a_hub_is_red_while_it_cannot_read_the_log(site, fake_parts):
    await site.read(await site.listener())
    await site.at_head()
    assert states("hub") == {"hub": "follows the log"}
    fail(site.hub.follower.outage)
    assert states("hub") == {"hub": "reading the log has failed for 0 s"}
    assert not works("hub")
    await site.at_head()
    for _ in range(1_000):
        if works("hub"):
            return
        await asyncio.sleep(0.002)
    pytest.fail("the hub stays red")


@pytest.mark.django_db(transaction=True)
async def test_a_hub_whose_loop_or_query_hangs_is_red(site, fake_parts, monkeypatch):
    await site.read(await site.listener())
    await site.at_head()
    monkeypatch.setattr("eric_sse_django.hub.follower.MAX_LATE_S", -3600.0)
    assert states("hub")["hub"].startswith("the log has not been read for")


@pytest.mark.django_db(transaction=True)
async def test_a_server_that_stops_is_not_ready(site, fake_parts):
    await site.read(await site.listener())
    site.hub.drain()
    assert states("hub") == {"hub": "the server is stopping"}


@pytest.mark.django_db(transaction=True)
async def test_a_hub_of_a_closed_loop_is_ignored(site, fake_parts):
    def run_in_a_loop():
        async def start():
            hub = Hub.for_running_loop()
            await hub.ready()
            fail(hub.follower.outage)
            return hub

        return asyncio.run(start())

    hub = await asyncio.to_thread(run_in_a_loop)
    assert hub in all_hubs()
    assert states("hub") == {"hub": "no streams here"}
    await asyncio.to_thread(hub.abandon)


def test_a_notifier_is_red_while_it_cannot_sequence(fake_parts, monkeypatch):
    notifier.current().start()
    assert states("notifier") == {"notifier": "sequences"}
    monkeypatch.setattr(notifier.current(), "trouble", lambda: "sequencing has failed for 7 s")
    assert not works("notifier")
    assert states("notifier") == {"notifier": "sequencing has failed for 7 s"}
    notifier.close()


def test_a_layer_that_answers_is_red_while_wakes_do_not_go_through(fake_parts):
    outage = Outage(parts.logger, "receiving wakes of other processes")
    sender.known_outages.add(outage)
    try:
        assert works("layer")
        fail(outage)
        assert states("layer")["layer"].startswith("receiving wakes")
        outage.over()
        assert works("layer")
    finally:
        sender.known_outages.discard(outage)


def test_without_a_layer_between_processes_the_layer_is_green(no_kept_results):
    assert states("layer") == {"layer": "none between processes: polling"}


@pytest.mark.parametrize("kind", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
def test_each_layer_of_channels_redis_is_checked_without_waking_hubs(
    settings, redis_server, no_kept_results, kind
):
    hosts = {"hosts": [("127.0.0.1", redis_server.port)]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"channels_redis.{kind}", "CONFIG": hosts}}
    assert layer.EMPTY_GROUP != channels.GROUP
    assert states("layer") == {"layer": "the channel layer answers"}
    settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"] = [("127.0.0.1", 1)]
    assert not works("layer")


async def test_the_database_is_queried_and_its_connection_is_closed(database, no_kept_results):
    assert await sync_to_async(states)("database") == {"database": "answers"}
    assert await sync_to_async(works)("database")


@sqlite_only
def test_a_database_without_our_tables_is_red(database, no_kept_results):
    assert works("database")
    connection = connections[database]
    with connection.schema_editor() as editor:
        editor.alter_db_table(LogHead, LogHead._meta.db_table, "elsewhere")
    try:
        assert states("database") == {"database": "OperationalError"}
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(LogHead, "elsewhere", LogHead._meta.db_table)
    assert works("database")
