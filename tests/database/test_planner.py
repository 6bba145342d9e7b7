"""Each query of the log uses the index made for it, and sorts nothing, on 100,000 rows."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.log import retention
from eric_sse_django.log.sequencer import statements
from eric_sse_django.models import Channel, LogHead, QueuedMessage
from tests import emptying
from tests.database.tools import atomic, numbers

ROWS = 100_000
CHANNELS = 10
# More than a batch: what a LIMIT returns whole, PostgreSQL may sort. With as many as a batch, its
# sample of the rows decided: it sorted where it estimated 993 to 1,003 of them.
PENDING = 2 * log.SEQUENCE_BATCH
FILLED = (Channel, LogHead, QueuedMessage)
# The recipient of a row, by its number: one in eight to a listener, one in eight to an owner.
LISTENERS, OWNERS = 20, 20


@pytest.fixture(scope="module")
def with_rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[set[str]]:
    """Return the databases that are filled. They stay so from one test here to the next."""
    with django_db_blocker.unblock(), emptying.keeping(*FILLED) as aliases:
        yield aliases
        for alias in aliases:
            empty(alias)


@pytest.fixture
def filled(with_rows: set[str], database: str) -> Iterator[str]:
    """Return the alias of a database whose log has ROWS rows, and no trace of earlier ones."""
    if database not in with_rows:
        empty(database)
        fill(database)
        with_rows.add(database)
    log.follow()  # asks a new connection where it leads to
    with atomic():
        yield database
        transaction.set_rollback(True, using=database)


def empty(alias: str) -> None:
    """Remove all rows; also PostgreSQL's dead ones, which its planner would count."""
    connection = connections[alias]
    statement = {"sqlite": "DELETE FROM"}.get(connection.vendor, "TRUNCATE TABLE")
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} {QueuedMessage._meta.db_table}")


def fill(alias: str) -> None:
    """Fill the log with rows by one statement, as a busy month would."""
    Channel.objects.bulk_create(Channel(name=f"c{number}") for number in range(CHANNELS))
    first = Channel.objects.order_by("pk").values_list("pk", flat=True)[0]
    connection = connections[alias]
    table = connection.ops.quote_name(QueuedMessage._meta.db_table)
    now, then = (
        connection.ops.adapt_datetimefield_value(timezone.now() + timedelta(days=days))
        for days in (0, 7)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (position, channel_id, listener_id, owner_id, type, payload,"
            f" created_at, expires_at) SELECT CASE WHEN n <= {ROWS - PENDING} THEN n END,"
            f" {first} + n %% {CHANNELS}, CASE WHEN n %% 8 = 1 THEN 1 + n %% {LISTENERS} END,"
            f" CASE WHEN n %% 8 = 2 THEN 1 + n %% {OWNERS} END, 'paid', '{{}}', %s, %s"
            f" FROM ({numbers(ROWS)}) AS numbered",
            [now, then],
        )
        if connection.vendor == "mysql":
            cursor.execute(f"ANALYZE TABLE {table}")
            cursor.fetchall()
        else:
            cursor.execute(f"ANALYZE {table}")
    LogHead.objects.update_or_create(pk=1, defaults={"position": ROWS - PENDING})


@dataclass
class Plan:
    """What a database is going to do for a query."""

    indexes: set[str] = field(default_factory=set)
    sorts: bool = False
    scans: bool = False
    text: str = ""

    def look(self, node: Any) -> None:
        """Note what one node of a plan in JSON, and all below it, do."""
        if isinstance(node, list):
            for each in node:
                self.look(each)
        if not isinstance(node, dict):
            return
        self.indexes |= {node[name] for name in ("Index Name", "key") if node.get(name)}
        self.sorts |= "Sort" in node.get("Node Type", "") or "filesort" in node
        # LogHead has one row: to read all of it is the best plan there is.
        of = str(node.get("Relation Name") or node.get("table_name"))
        whole = node.get("Node Type") == "Seq Scan" or node.get("access_type") == "ALL"
        self.scans |= whole and not of.endswith("loghead")
        self.look(list(node.values()))


def explain(alias: str, sql: str) -> Plan:
    vendor = connections[alias].vendor
    how = {"sqlite": "QUERY PLAN", "postgresql": "(FORMAT JSON)", "mysql": "FORMAT=JSON"}[vendor]
    with connections[alias].cursor() as cursor:
        cursor.execute(f"EXPLAIN {how} {sql}")
        rows = cursor.fetchall()
    plan = Plan(text=f"{sql}\n{rows}")
    if vendor == "sqlite":
        for *_, step in rows:
            plan.indexes |= set(re.findall(r"(?<=INDEX )\w+|PRIMARY(?= KEY)", step))
            plan.sorts |= "TEMP B-TREE" in step
            plan.scans |= step.startswith("SCAN ")
    else:
        plan.look(rows[0][0] if vendor == "postgresql" else json.loads(rows[0][0]))
    return plan


def plans(alias: str, function: Callable[..., Any], *args: Any) -> list[Plan]:
    """Return the plans of the queries on the log that function(*args) makes."""
    with CaptureQueriesContext(connections[alias]) as captured:
        function(*args)
    queries = [query["sql"] for query in captured.captured_queries]
    # The first of a process asks once whether the table is in partitions.
    of_log = [sql for sql in queries if "queuedmessage" in sql and "pg_class" not in sql]
    return [explain(alias, sql) for sql in of_log]


def test_each_query_of_the_log_uses_its_index_and_sorts_nothing(filled):
    first = Channel.objects.order_by("pk").values_list("pk", flat=True)[0]
    head = ROWS - PENDING
    # Limits of 20 ask for fewer than there are: see PENDING.
    to_listener, to_owner = first + 1, first + 2  # see fill(): listener 2, owner 3
    later = {first: 0, first + 1: head - 10, first + 2: head - 20}
    cases = {
        "eric_log_tail": [
            ("what is new, of all channels", log.look, log.Known(head - 50), None, 1_000),
            ("of one channel", log.look, log.Known(head - 50), [first], 1_000),
            ("of some", log.look, log.Known(head - 50), range(first, first + 5), 1_000),
            ("long behind", log.look, log.Known(head // 2), [first, first + 5], 1_000),
            ("later of some", log.look, log.Known(head - 50), later, 1_000),
            ("between", log.channels_between, log.Known(head - 50, 1.0), head, 1_000),
            ("what is pending", lambda: list(log.pending().values_list("id")[:20])),
            ("the head, and whether something is", log.head),
            ("whether it is as known", log.is_as_known, log.Known(head - 50, 1.0)),
        ],
        "eric_log_read": [
            ("a watcher's backlog", log.read, [log.Recipient(first, after=10)], head, 1_000),
            ("a listener's", log.read, [log.Recipient(to_listener, 2, None, 10)], head, 20),
            ("an owner's", log.read, [log.Recipient(to_owner, None, 3, 10)], head, 20),
            ("a listener's next", log.read, [log.Recipient(to_listener, 2, 3, 10)], head, 1),
        ],
        "eric_log_expiry": [("what is past its retention", retention.trim)],
    }
    for index, queries in cases.items():
        for what, function, *args in queries:
            found = plans(filled, function, *args)
            assert found, what
            for plan in found:
                used = plan.indexes - {"PRIMARY", "eric_sse_django_loghead_pkey"}
                assert used == {index}, f"{what}: {plan.text}"
                assert not plan.sorts, f"{what}: {plan.text}"
                assert not plan.scans, f"{what}: {plan.text}"


def test_positions_are_written_by_primary_key(filled):
    # By any other way, rows that are not committed yet would be waited for.
    *_, update, head = plans(filled, log.sequence)
    for plan in (update, head):
        assert plan.text.startswith("UPDATE")
        assert not plan.scans
    assert len(update.indexes) == 1
    [index] = update.indexes
    assert "pkey" in index or index == "PRIMARY", update.text


def test_positions_are_given_in_one_call_along_the_index_and_the_primary_key(filled):
    # The transaction around this test has them given step by step: see log.sequence.
    of = statements(filled, log.SEQUENCE_BATCH)
    is_postgres = connections[filled].vendor == "postgresql"
    assert [bool(of.at_once), bool(of.at_once_returning)] == [is_postgres] * 2
    keys = {"eric_sse_django_queuedmessage_pkey", "eric_sse_django_loghead_pkey"}
    for statement in f"{of.at_once};{of.at_once_returning}".split(";"):
        plan = explain(filled, statement) if statement else Plan()
        assert plan.indexes <= {"eric_log_tail", *keys}, plan.text
        assert not plan.scans, plan.text
        assert not plan.sorts, plan.text


def test_messages_over_the_waiting_limit_are_found_along_the_index(filled, settings):
    settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": 1_000}
    first = Channel.objects.order_by("pk").values_list("pk", flat=True)[0]
    to = log.Recipient(first + 2, 3, 3, 10)  # see fill(): owner 3
    found = plans(filled, log.too_old, to, ROWS - PENDING)
    assert len(found) == 2
    for plan in found:
        assert plan.indexes == {"eric_log_read"}, plan.text
