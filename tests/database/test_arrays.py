"""The text of an array of PostgreSQL's has the values that it was made of."""

import pytest
from django.db import connections

from eric_sse_django.log import array_text
from tests.databases import on

TEXTS = [
    "",
    " ",
    "plain",
    'a "b" c',
    "a\\b",
    '\\"',
    "{x,y}",
    "NULL",
    "null",
    "ä日🚀",
    "a\nb\t",
    ",",
    "'",
]


@on("postgres")
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", TEXTS),
        ("text", [None, "a", None]),
        ("text", ['"', '"', '"']),
        ("text", [None, None]),
        ("bigint", [7]),
        ("bigint", [0, -1, 2**62, None]),
        ("double precision", [0.5, 1e300, None]),
        ("boolean", [True, False, None]),
        ("text", []),
    ],
)
def test_an_array_returns_as_it_was(database, kind, values):
    with connections[database].cursor() as cursor:
        cursor.execute(f"SELECT (%s)::{kind}[]", [array_text(values)])
        [found] = cursor.fetchone()
    assert found == values
