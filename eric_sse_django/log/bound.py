"""The bound on what waits for one listener."""

from __future__ import annotations

from typing import Any, NamedTuple

from eric_sse_django import conf
from eric_sse_django.log.dialect import log_dialect
from eric_sse_django.log.entries import ALIVE
from eric_sse_django.log.ranges import Range, ranges_to
from eric_sse_django.models import database

# Listeners remembered; beyond, all are forgotten, and counted again when they read.
MOST_KNOWN = 10_000


class Known(NamedTuple):
    """Of a listener: who reads after `after`, up to `upto`, need not be counted again."""

    after: int
    upto: int
    most: int


_known: dict[tuple[str, int], Known] = {}


def forget_counts() -> None:
    """Have everybody counted again. For tests, whose databases begin anew."""
    _known.clear()


def too_old(channel: int, listener: int | None, owner: Any, after: int, upto: int) -> int | None:
    """
    Return up to which position a listener's messages in (after, upto] go, None for none.

    MAX_WAITING_MESSAGES, the newest, stay. No query while no more positions were given than
    may wait, nor for watchers; else one that walks over what waits, along the index, and
    again when a tenth of what may wait has been published: so more may wait for so long.
    """
    most: int | None = conf.get("MAX_WAITING_MESSAGES")
    if most is None or listener is None or upto - after <= most:
        return None
    key = database(), listener
    known = _known.get(key)
    if known and known.after <= after and upto <= known.upto and known.most == most:
        return None
    ranges = list(ranges_to(channel, listener, owner, after, upto))
    waiting = _count(ranges, most + 1)
    last = _last_to_go(ranges, most) if waiting > most else None
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[key] = Known(last or after, upto + max(most - waiting, most // 10), most)
    return last


def _count(ranges: list[Range], limit: int) -> int:
    """Return how many rows there are, `limit` or more meaning too many; also expired ones."""
    branches = [
        f"SELECT COUNT(*) FROM (SELECT 1 AS one {part.rows()} LIMIT {limit}) counted"
        for part in ranges
    ]
    counts = log_dialect().union_all(branches, [part.params() for part in ranges])
    return sum(count for (count,) in counts)


def _last_to_go(ranges: list[Range], most: int) -> int | None:
    """Return the newest position beyond the `most` newest; those expired are not counted."""
    dialect = log_dialect()
    now = dialect.now()
    alive = f"AND {ALIVE} {dialect.order('DESC')} LIMIT {most + 1}"
    newest = " UNION ALL ".join(
        f"SELECT position FROM (SELECT position {part.rows()} {alive}) part" for part in ranges
    )
    with dialect.connection.cursor() as cursor:
        cursor.execute(
            f"SELECT position FROM ({newest}) newest ORDER BY position DESC LIMIT 1 OFFSET {most}",
            [value for part in ranges for value in (*part.params(), now)],
        )
        found = cursor.fetchone()
    return None if found is None else int(found[0])
