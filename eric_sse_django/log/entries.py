"""Entries out of the log's rows, within a bound of bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Case, Func, IntegerField, QuerySet, When
from django.db.models.lookups import LessThanOrEqual

from eric_sse_django.entry import Entry
from eric_sse_django.log.alias import database
from eric_sse_django.log.page import Page
from eric_sse_django.models import QueuedMessage

# Bytes of payloads read at once, were they as large as they may: 1,000 of 256 KB would be
# 256 MB for a moment. As many as a thousand of the usual size have, and no stream's buffer.
READ_BYTES = 4_194_304

# In the order of Entry's arguments, on both sides of the payload. The last is null for most:
# no time to parse a row.
_BEFORE = ("position", "channel_id", "listener_id", "owner_id", "type")
_AFTER = ("sender", "uid", "created_at", Case(When(perishable=True, then="expires_at")))
_PAYLOAD = len(_BEFORE)

Row = tuple[Any, ...]


class Octets(Func):
    """The bytes of a text. PostgreSQL knows them of a large one without reading it."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Characters: before 3.43 it has no OCTET_LENGTH().
        return self.as_sql(compiler, connection, function="LENGTH", **context)


def page_of(rows: QuerySet[QueuedMessage], upto: int, limit: int) -> Page:
    """
    Return the first rows' entries: `limit` of them and READ_BYTES at most, one at least.

    One query; two more where a payload has more than its share of the bytes.
    """
    share = LessThanOrEqual(Octets("payload"), READ_BYTES // limit)
    payload = "payload" if limit == 1 else Case(When(share, then="payload"))
    found: list[Row] = list(rows.values_list(*_BEFORE, payload, *_AFTER)[:limit])
    reached = found[-1][0] if len(found) == limit else upto
    large = [row[0] for row in found if row[_PAYLOAD] is None]
    if large:
        found, reached = _with_large(found, large, reached)
    return Page(_entries(found), reached)


def _with_large(found: list[Row], large: list[int], reached: int) -> tuple[list[Row], int]:
    """Return the rows that fit, with the payloads that were left out, and how far they go."""
    logged = QueuedMessage.objects.using(database())
    sizes = dict(logged.filter(position__in=large).values_list("position", Octets("payload")))
    total = 0
    for number, row in enumerate(found):
        payload = row[_PAYLOAD]
        total += sizes.get(row[0], 0) if payload is None else len(payload)
        if total > READ_BYTES and number:
            found, reached = found[:number], found[number - 1][0]
            break
    wanted = [position for position in large if position <= reached]
    payloads = dict(logged.filter(position__in=wanted).values_list("position", "payload"))
    filled = (
        row
        if row[_PAYLOAD] is not None
        else (*row[:_PAYLOAD], payloads.get(row[0]), *row[_PAYLOAD + 1 :])
        for row in found
    )
    # None: trimmed meanwhile. The floor, which is read afterwards, tells of it.
    return [row for row in filled if row[_PAYLOAD] is not None], reached


def _entries(rows: Iterable[Any]) -> list[Entry]:
    # Most have no end: for those nothing is done but a look at it.
    return [Entry(*row) if row[-1] is None else Entry(*_with_end(*row)) for row in rows]


def _with_end(*row: Any) -> Row:
    return *row[:-1], row[-1].timestamp()
