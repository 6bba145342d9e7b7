"""Each database's planner uses an index for the pages' queries of the log."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.models import Listener, QueuedMessage
from tests import databases
from tests.admin.conftest import settle
from tests.admin.pages import url

TABLE = QueuedMessage._meta.db_table


@pytest.fixture
def pages(channel, listener, superuser):
    """Return the pages over a log of 2,000 messages in 20 channels, with its statistics."""
    channels = [DatabaseChannel.create(f"channel-{number}") for number in range(20)]
    for each in channels:
        each.broadcast_many(Message("paid", number) for number in range(100))
        each.add_listener()
    channel.dispatch("till-7", Message("paid", 1))
    settle()
    with connections[log.database()].cursor() as cursor:
        vendor = connections[log.database()].vendor
        tables = f" TABLE {TABLE}" if vendor == "mysql" else ""
        cursor.execute(f"ANALYZE{tables}")
    row = Listener.objects.first()
    return superuser, {
        "listeners": url("listener"),
        "listener": url("listener", "change", row.pk),
        "lagging": url("listener") + "?lagging=yes",
        "channels": url("channel"),
        "deletion": url("channel", "delete", row.channel_id),
        "by listener": url("queuedmessage") + "?q=till-7",
    }


def plans(pages, name, prefix):
    """Return the plan's rows of each of the page's queries of the log."""
    client, where = pages
    connection = connections[log.database()]
    with CaptureQueriesContext(connection) as queries:
        assert client.get(where[name]).status_code == 200
    sent = [query["sql"] for query in queries if TABLE in query["sql"]]
    assert sent
    for sql in sent:
        with connection.cursor() as cursor:
            cursor.execute(f"{prefix} {sql}".replace("%", "%%"))
            yield from cursor.fetchall()


NAMES = ["listeners", "listener", "lagging", "channels", "deletion", "by listener"]


@databases.sqlite_only
@pytest.mark.parametrize("name", NAMES)
def test_sqlite_scans_no_log(pages, name):
    details = [row[3] for row in plans(pages, name, "EXPLAIN QUERY PLAN")]
    assert any("eric_log" in detail for detail in details)
    scans = [detail for detail in details if detail.startswith(f"SCAN {TABLE}")]
    assert scans == []


# Except for the channels' traffic: it counts all of a small log, so a scan is the best plan.
@databases.mariadb_only
@pytest.mark.parametrize("name", [name for name in NAMES if name != "channels"])
def test_mariadb_scans_no_log(pages, name):
    rows = list(plans(pages, name, "EXPLAIN"))
    assert any("eric_log" in str(row[5]) for row in rows)
    # Columns of EXPLAIN: id, select_type, table, type, possible_keys, key, ...
    scans = [row for row in rows if row[2] == TABLE and row[3] in ("ALL", "index")]
    assert scans == []
