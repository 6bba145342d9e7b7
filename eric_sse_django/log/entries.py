"""Entries from the log's rows, within a bound of bytes; SQL text is built once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, TypeAlias

from django.db import connections

from eric_sse_django.entry import Entry
from eric_sse_django.log.address import Address, where
from eric_sse_django.log.dialect import Dialect, dialect_of, moment_of
from eric_sse_django.log.lifetime import ALIVE
from eric_sse_django.log.protocol import Page
from eric_sse_django.models import database

# Bytes of payloads in a page: as many as 1,000 messages of the usual size have, and more than a
# stream's buffer. Without it, 1,000 of the largest (256 KB) were 256 MB at once.
PAGE_BYTES = 4_194_304

# In the order of Entry's arguments; the last of these, `time_of`, is not a column.
_FIELDS = (
    *("position", "channel", "listener", "owner", "type", "payload"),
    *("sender", "uid", "created_at", "expires_at"),
)
_OWNER, PAYLOAD = _FIELDS.index("owner"), _FIELDS.index("payload")
CREATED_AT, _EXPIRES_AT = _FIELDS.index("created_at"), _FIELDS.index("expires_at")

Row: TypeAlias = tuple[Any, ...]
Convert: TypeAlias = Callable[[Any], Any]


def page_of(to: Address, after: int, upto: int, limit: int) -> Page:
    """
    Return the first messages with this address in (after, upto] that have not expired.

    `limit` entries and PAGE_BYTES at most, one at least. One query; two more where a payload
    has more than its share of the bytes.
    """
    using = database()
    dialect = dialect_of(connections[using])
    share = [] if limit == 1 else [PAGE_BYTES // limit]
    statement = _select(using, to.listener is not None, to.owner is not None, bool(share))
    with dialect.connection.cursor() as cursor:
        values = [*share, to.channel, *to.keys(dialect), after, upto, dialect.now(), limit]
        cursor.execute(statement, values)
        found = list(cursor.fetchall())
    reached = found[-1][0] if len(found) == limit else upto
    large = [row[0] for row in found if row[PAYLOAD] is None]
    if large:
        found, reached = _with_large(dialect, found, large, reached)
    return Page(entries_of(using, found), reached)


@lru_cache
def _select(using: str, to_listener: bool, to_owner: bool, shared: bool) -> str:
    dialect = dialect_of(connections[using])
    payload = f"CASE WHEN {dialect.size} <= %s THEN payload END" if shared else "payload"
    to = where("= %s" if to_listener else None, "= %s" if to_owner else None)
    return (
        f"SELECT {columns(dialect, payload)} FROM {dialect.log} WHERE channel_id = %s AND {to} "
        f"AND position > %s AND position <= %s AND {ALIVE} {dialect.order()} LIMIT %s"
    )


def _with_large(
    dialect: Dialect, found: list[Row], large: list[int], reached: int
) -> tuple[list[Row], int]:
    """Return the rows that fit, with the payloads that were left out, and how far they reach."""
    sizes = _at(dialect, large, dialect.size)
    count = fitting(
        (
            sizes.get(row[0], 0) if row[PAYLOAD] is None else len(row[PAYLOAD])  # …
            for row in found
        ),
        PAGE_BYTES,
    )
    if count < len(found):
        found, reached = found[:count], found[count - 1][0]
    payloads = _at(dialect, [position for position in large if position <= reached], "payload")
    filled = (
        row
        if row[PAYLOAD] is not None
        else (*row[:PAYLOAD], payloads.get(row[0]), *row[PAYLOAD + 1 :])
        for row in found
    )
    # None: trimmed meanwhile. The floor, which is read afterwards, has it.
    return [row for row in filled if row[PAYLOAD] is not None], reached


def fitting(sizes: Iterable[int], most: int) -> int:
    """Return how many of the first sizes are `most` together, and at least one if there is one."""
    count = total = 0
    for count, size in enumerate(sizes, start=1):
        total += size
        if total > most and count > 1:
            return count - 1
    return count


def _at(dialect: Dialect, positions: Iterable[int], what: str) -> dict[int, Any]:
    """Return a column or expression of each of the messages at these positions. One query."""
    keys = ",".join(map(str, map(int, positions))) or "NULL"
    with dialect.connection.cursor() as cursor:
        cursor.execute(f"SELECT position, {what} FROM {dialect.log} WHERE position IN ({keys})")
        return dict(cursor.fetchall())


def columns(dialect: Dialect, payload: str = "payload") -> str:
    """Return what to select for entries_of()."""
    names = [dialect.column(name) for name in _FIELDS]
    names[PAYLOAD] = payload
    for index in (CREATED_AT, _EXPIRES_AT):
        names[index] = dialect.stamp(names[index])
    # Null for most: it takes no time to parse.
    names[_EXPIRES_AT] = f"CASE WHEN perishable THEN {names[_EXPIRES_AT]} END"
    return ", ".join(names)


def entries_of(using: str, rows: Iterable[Row]) -> list[Entry]:
    """Return the entries of rows with columns(), as the driver gave them."""
    make: Callable[..., Entry] = Entry  # mypy takes a row for any number of arguments
    time_of, owner_of, found = _time_converter(using), None, []
    for row in rows:
        if row[_OWNER] is None and row[_EXPIRES_AT] is None:
            found.append(make(*row, time_of))
            continue
        values = [*row, time_of]
        if values[_OWNER] is not None:
            owner_of = owner_of or dialect_of(connections[using]).converter("owner")
            values[_OWNER] = owner_of(values[_OWNER])
        if values[_EXPIRES_AT] is not None:
            values[_EXPIRES_AT] = time_of(values[_EXPIRES_AT]).timestamp()
        found.append(make(*values))
    return found


@lru_cache
def _time_converter(using: str) -> Convert:
    return partial(_time_of, using)


def _time_of(using: str, value: Any) -> Any:
    """Return the datetime of a column's value, or of a time.time(); on any thread."""
    if not isinstance(value, float):
        return dialect_of(connections[using]).to_datetime(value)
    return moment_of(value)
