"""Many small questions in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections

from eric_sse_django.models import database

# SELECTs in one statement: SQLite's limit is 500.
MOST_BRANCHES = 400


def union_all(branches: Sequence[str], params: Sequence[Sequence[Any]] = ()) -> list[Any]:
    """
    Return the rows of all the SELECTs, in no order: one query for each MOST_BRANCHES.

    `params` has a sequence for each branch, or is empty. What a branch counts or looks up
    stands in it as a constant: MariaDB's derived tables see no column of an outer query.
    """
    rows: list[Any] = []
    with connections[database()].cursor() as cursor:
        for first in range(0, len(branches), MOST_BRANCHES):
            part = slice(first, first + MOST_BRANCHES)
            values = [value for given in params[part] for value in given]
            cursor.execute(" UNION ALL ".join(branches[part]), values)
            rows += cursor.fetchall()
    return rows
