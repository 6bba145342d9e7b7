"""100,000 listeners and 1,000,000 messages on PostgreSQL: few queries, and no scan of the log."""

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.test.utils import CaptureQueriesContext

from eric_sse_django import log
from eric_sse_django.admin.messages import MAX_FILTERED
from eric_sse_django.models import Channel, Listener, QueuedMessage
from tests import databases
from tests.admin.pages import url

pytestmark = [pytest.mark.live, databases.on("postgres")]

LISTENERS, CHANNELS, MESSAGES = 100_000, 100, 1_000_000
FIRST_USER = 1_000_000
MAX_QUERIES = 10
# Rows of the log that one page may read: twice what a filter reads.
MAX_ROWS = 2 * MAX_FILTERED
LOAD = f"""
INSERT INTO auth_user (id, username, password, is_superuser, first_name, last_name, email,
    is_staff, is_active, date_joined)
  SELECT {FIRST_USER} + n, 'user-' || n, '', false, '', '', '', false, true, now()
  FROM generate_series(1, 1000) n;
INSERT INTO eric_sse_django_listener
    (id, channel_id, name, owner_id, running, start, cursor, floor, created_at)
  SELECT n, 1 + n % {CHANNELS}, 'listener-' || n,
    CASE WHEN n % 3 = 0 THEN {FIRST_USER} + 1 + n % 1000 END,
    n % 20 > 0, 0, CASE WHEN n % 10 = 0 THEN {MESSAGES} - n * 9 ELSE {MESSAGES} END, 0, now()
  FROM generate_series(1, {LISTENERS}) n;
DROP INDEX eric_log_tail, eric_log_read, eric_log_expiry;
INSERT INTO eric_sse_django_queuedmessage (position, channel_id, listener_id, owner_id, type,
    payload, created_at, expires_at)
  SELECT n, 1 + n % {CHANNELS}, CASE WHEN n % 3 = 0 THEN 1 + (n - 1) % {LISTENERS} END,
    CASE WHEN n % 3 = 1 THEN {FIRST_USER} + 1 + n % 1000 END, 'type-' || n % 7, '{{"n":1}}',
    now() - ({MESSAGES} - n) * interval '100 ms', now() + interval '7 days'
  FROM generate_series(1, {MESSAGES}) n;
UPDATE eric_sse_django_loghead SET position = {MESSAGES};
INSERT INTO eric_sse_django_serverprocess
    (id, name, started_at, renewed_at, streams, delivered, delay_p50_ms, delay_p99_ms)
  SELECT n, 'web-' || n, now(), now() + interval '1 hour', 0, 0, 0, 0 FROM generate_series(1, 4) n;
INSERT INTO eric_sse_django_openstream (id, process_id, listener_id, opened_at)
  SELECT n, 1 + n % 4, n * 7, now()
  FROM generate_series(1, 10000) n;
"""


@pytest.fixture
def full(database, staff):
    log.sequence()
    connection = connections[database]
    numbers = range(1, CHANNELS + 1)
    Channel.objects.bulk_create(Channel(pk=n, name=f"channel-{n}") for n in numbers)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO eric_sse_django_loghead VALUES (1, 0) ON CONFLICT DO NOTHING")
        cursor.execute(LOAD)
    with connection.schema_editor() as editor:
        for index in QueuedMessage._meta.indexes:
            editor.add_index(QueuedMessage, index)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    ContentType.objects.get_for_models(Channel, Listener, QueuedMessage)  # Django keeps them
    return staff("delete_channel", "delete_listener", "delete_queuedmessage", "operate_listener")


def reads(sql):
    return sql.startswith("SELECT") and QueuedMessage._meta.db_table in sql


def rows_read(connection, sql):
    """Return how many rows of the log the query's plan read, and whether it read it all."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    nodes, rows, whole = (
        [plan[0]["Plan"]],
        0,
        False,
    )
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node.get("Relation Name") == QueuedMessage._meta.db_table:
            rows += node["Actual Rows"] * node["Actual Loops"]
            rows += node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
            whole |= node["Node Type"] == "Seq Scan" and node["Actual Rows"] > 20_000
    return rows, whole


PAGES = {
    "listeners": ("listener", ""),
    "listeners, second page": ("listener", "?p=2"),
    "listeners online": ("listener", "?online=yes"),
    "listeners stopped": ("listener", "?running=no"),
    "listeners lagging": ("listener", "?lagging=yes"),
    "listeners of a channel": ("listener", "?channel=channel-7"),
    "listeners searched": ("listener", "?q=listener-777"),
    "channels": ("channel", ""),
    "messages": ("queuedmessage", ""),
    "messages, last page": ("queuedmessage", "?p=10"),
    "messages of a channel": ("queuedmessage", "?channel=channel-7"),
    "messages of a rare type": ("queuedmessage", "?type=never"),
    "messages by position": ("queuedmessage", "?q=500000"),
    "messages of a listener": ("queuedmessage", "?q=listener-777"),
}


def test_pages_stay_fast_and_never_scan_the_log(full, database):
    connection = connections[database]
    pages = {name: url(model) + query for name, (model, query) in PAGES.items()}
    row = Listener.objects.order_by("cursor").first()
    pages["a listener"] = url("listener", "change", row.pk)
    pages["a channel"] = url("channel", "change", 7)
    pages["a channel's deletion"] = url("channel", "delete", 7)
    pages["a message"] = url("queuedmessage", "change", QueuedMessage.objects.first().pk)
    for name, page in pages.items():
        with CaptureQueriesContext(connection) as queries:
            response = full.get(page)
        assert response.status_code == 200, name
        assert len(queries) < MAX_QUERIES, name
        plans = [rows_read(connection, query["sql"]) for query in queries if reads(query["sql"])]
        assert not any(whole for _, whole in plans), name
        assert sum(rows for rows, _ in plans) <= MAX_ROWS, name
