"""The limit of what waits for one listener, MAX_WAITING_MESSAGES."""

from __future__ import annotations

from typing import NamedTuple

from eric_sse_django import conf
from eric_sse_django.log.address import Range, Recipient
from eric_sse_django.log.dialect import log_dialect
from eric_sse_django.log.lifetime import ALIVE
from eric_sse_django.models import database

# Listeners whose counts are kept; when exceeded, all are forgotten, and counted at their next
# read.
MAX_COUNTS = 10_000


class Counted(NamedTuple):
    """Of a listener: a read that begins after `after`, up to `upto`, need not count again."""

    after: int
    upto: int
    most: int


_counts: dict[tuple[str, int], Counted] = {}


def forget_counts() -> None:
    """Count again for each listener. For tests, whose databases are emptied."""
    _counts.clear()


def too_old(recipient: Recipient, upto: int) -> int | None:
    """
    Return the position up to which a recipient's messages in (after, upto] are skipped, or None.

    MAX_WAITING_MESSAGES, the newest, stay. No query while no more positions were given than
    may wait, nor for watchers; else one that counts what waits along the index, and again when
    a tenth of the limit has been published: for that long more may wait.
    """
    if not must_count(recipient, upto):
        return None
    assert recipient.listener is not None
    most: int = conf.get("MAX_WAITING_MESSAGES")
    after, key = recipient.after, (database(), recipient.listener)
    ranges = recipient.ranges(upto)
    waiting = _count(ranges, most + 1)
    last = _last_skipped(ranges, most) if waiting > most else None
    if len(_counts) >= MAX_COUNTS:
        _counts.clear()
    _counts[key] = Counted(last or after, upto + max(most - waiting, most // 10), most)
    return last


def must_count(recipient: Recipient, upto: int) -> bool:
    """Return whether too_old() would query."""
    most: int | None = conf.get("MAX_WAITING_MESSAGES")
    after = recipient.after
    if most is None or recipient.listener is None or upto - after <= most:
        return False
    known = _counts.get((database(), recipient.listener))
    is_known = known and known.after <= after and upto <= known.upto and known.most == most
    return not is_known


def _count(ranges: list[Range], limit: int) -> int:
    """Return how many rows there are, also expired ones; `limit` or more is too many."""
    branches = [
        f"SELECT COUNT(*) FROM (SELECT 1 AS one {part.rows()} LIMIT {limit}) counted"
        for part in ranges
    ]
    counts = log_dialect().union_all(branches, [part.params() for part in ranges])
    return sum(count for (count,) in counts)


def _last_skipped(ranges: list[Range], most: int) -> int | None:
    """Return the newest position before the `most` newest, of those that have not expired."""
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
