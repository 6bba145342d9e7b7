"""docs/operations.md explains what the code has."""

import ast
import re
from pathlib import Path

import psycopg
import pytest
from django.db import connections
from prometheus_client import CollectorRegistry

from eric_sse_django.health import PARTS
from eric_sse_django.hub.ends import End
from eric_sse_django.metrics import EricSseCollector
from tests.databases import postgres_only

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text()
PACKAGE = ROOT / "eric_sse_django"


def column(heading, number=0):
    """Return a column of the table with this heading."""
    rows = PAGE.split(f"{heading}\n|---")[1].split("\n\n")[0].splitlines()[1:]
    return [row.strip("|").split(" | ")[number].strip() for row in rows]


def families():
    registry = CollectorRegistry()
    registry.register(EricSseCollector())
    return list(registry.collect())


def test_the_metrics_are_those_of_the_table():
    names = [
        name.removeprefix("`").split("{")[0].rstrip("`")
        for name in column("| metric | means | alert |")
    ]
    suffix = {"counter": "_total"}
    expected = [f"{family.name}{suffix.get(family.type, '')}" for family in families()]
    assert [f"eric_sse_{name}" for name in names] == expected


def test_the_metrics_in_the_alerts_exist():
    rules = PAGE.split("```yaml\n")[1].split("```")[0]
    named = set(re.findall(r"\beric_sse_\w+", rules))
    there = {family.name for family in families()}
    known = {f"{name}{suffix}" for name in there for suffix in ("", "_total", "_bucket")}
    assert named
    assert named <= known


def test_the_parts_are_those_of_the_table():
    assert column("| part | is red | is also green |") == [f"`{part}`" for part in PARTS]


def constants(node):
    return [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]


def log_texts():
    """Yield the texts that may be logged from INFO on, and what may fail for long."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name == "Outage":
                yield constants(node.args[1])[0]
            elif re.fullmatch(r"(self\._)?logger\.(info|warning|error|exception|log)", name):
                yield next(text for text in constants(node) if isinstance(text, str))


@pytest.mark.parametrize("text", sorted(set(log_texts())))
def test_each_line_of_the_log_is_explained(text):
    pieces = [piece.strip() for piece in re.split(r"%[.\d]*[sdr]", text)]
    assert max(pieces, key=len) in PAGE


def test_each_reason_that_ends_a_stream_is_explained():
    reasons = [f"`{end}`" for end in End if end is not End.NOT_ALLOWED]  # of a monitor page
    assert column("| reason | means | the client |") == reasons


@postgres_only
def test_the_queries_for_old_snapshots_find_a_transaction_that_is_open(database, database_servers):
    queries = PAGE.split("### Old snapshots")[1].split("```sql\n")[1].split("```")[0]
    name, port = connections[database].settings_dict["NAME"], database_servers["postgres"].port
    address = f"host=127.0.0.1 port={port} user=postgres dbname={name}"
    with psycopg.connect(address) as old, connections[database].cursor() as cursor:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT count(*) FROM eric_sse_django_queuedmessage")
        held, *others = filter(str.strip, queries.split(";"))
        cursor.execute(held)
        assert old.info.backend_pid in [pid for pid, *_ in cursor.fetchall()]
        for query in others:
            cursor.execute(query)
            assert cursor.fetchall() == []
