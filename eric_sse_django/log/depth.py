"""How much waits for whom, and since when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections

from eric_sse_django.log.ranges import Range, in_order, ranges_of
from eric_sse_django.log.union import union_all
from eric_sse_django.models import Listener, QueuedMessage, database


@dataclass(frozen=True)
class Depth:
    """How many messages wait (counted to one more than was asked), and the oldest's time."""

    waiting: int = 0
    oldest: datetime | None = None


def depths(listeners: Iterable[Listener], most: int = 1_000) -> dict[int, Depth]:
    """
    Return how deep each listener's queue is, by primary key; `most + 1` means more.

    An expired message counts until it is removed (TRIM_INTERVAL_S): the index does not know.
    One query for each 400 ranges, of which a listener has two or three; those that
    several share, as broadcasts after one cursor, count once. On PostgreSQL one query.
    """
    rows = list(listeners)
    ranges = list(dict.fromkeys(part for row in rows for part in ranges_of(row, row.cursor)))
    if connections[database()].vendor == "postgresql":
        found = _joined(ranges, most + 1)
    else:
        found = _united(ranges, most + 1)
    when = _converter()
    by_range = {ranges[number]: (count, when(oldest)) for number, count, oldest in found}
    return {
        row.pk: _sum([by_range[part] for part in ranges_of(row, row.cursor)], most) for row in rows
    }


def _united(ranges: list[Range], limit: int) -> list[Any]:
    branches = [_question(str(number), part.rows(), limit) for number, part in enumerate(ranges)]
    return union_all(branches, [part.params() * 2 for part in ranges])


def _joined(ranges: list[Range], limit: int) -> list[Any]:
    """
    Ask for all ranges of a kind in one join.

    PostgreSQL plans each SELECT of a union apart and, finding the whole dear, compiles
    them all: 2 s for 232 ranges, where this takes 10 ms.
    """
    kinds: dict[Any, list[tuple[int, Range]]] = {}
    for number, part in enumerate(ranges):
        kinds.setdefault((part.listener is None, part.owner is None), []).append((number, part))
    branches, params = [], []
    for parts in kinds.values():
        values = ", ".join(part.values(number) for number, part in parts)
        names = "asked (number, channel, listener, owner, after)"
        question = _question("number", parts[0][1].rows_of("asked"), limit)
        branches.append(f"{question} FROM (VALUES {values}) {names}")
        params.append([value for _, part in parts for value in part.params()])
    return union_all(branches, params)


def _question(number: str, rows: str, limit: int) -> str:
    return (
        f"SELECT {number}, (SELECT COUNT(*) FROM (SELECT 1 AS one {rows} LIMIT {limit}) counted), "
        f"(SELECT created_at {rows} {in_order()} LIMIT 1)"
    )


def _sum(parts: list[tuple[int, datetime | None]], most: int) -> Depth:
    waiting = min(sum(count for count, _ in parts), most + 1)
    return Depth(waiting, min((oldest for _, oldest in parts if oldest), default=None))


def _converter() -> Any:
    """Return what makes a datetime of the value that the database's driver gives."""
    connection = connections[database()]
    column = QueuedMessage._meta.get_field("created_at").cached_col
    converters = connection.ops.get_db_converters(column)

    def convert(value: Any) -> datetime | None:
        for converter in converters:
            value = converter(value, column, connection)
        found: datetime | None = value
        return found

    return convert
