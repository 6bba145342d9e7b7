"""How many messages were published, and what each channel has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from django.utils import timezone

from eric_sse_django.log import head
from eric_sse_django.log.address import NO_CONTROLS
from eric_sse_django.log.dialect import log_dialect

# The newest positions that are counted: one range of the index, whatever the period.
MAX_RECENT = 50_000


@dataclass
class Traffic:
    """Messages of the last hour and day by channel; with `…_stops` there may be more."""

    hour: dict[int, int] = field(default_factory=dict)
    day: dict[int, int] = field(default_factory=dict)
    hour_stops: bool = False
    day_stops: bool = False


def recent_traffic(newest: int | None = None, most: int = MAX_RECENT) -> Traffic:
    """
    Return how many messages at the newest `most` positions are of the last hour and day.

    By channel. One query, and one for `newest`, the log's head, where it is not given: not
    both in one, for the planner must see where the range begins. 30 ms for 50,000 messages.
    There is no index on time: it would slow every publish down.
    """
    before = (head()[0] if newest is None else newest) - most
    dialect, now = log_dialect(), timezone.now()
    hour, day = (dialect.time(now - timedelta(hours=hours)) for hours in (1, 24))
    young = f"SUM(CASE WHEN created_at >= %s AND {NO_CONTROLS} THEN 1 ELSE 0 END)"
    old = "SUM(CASE WHEN created_at < %s THEN 1 ELSE 0 END)"
    with dialect.connection.cursor() as cursor:
        cursor.execute(
            f"SELECT channel_id, {young}, {young}, {old}, {old} FROM {dialect.log} "
            f"WHERE position > {int(before)} GROUP BY channel_id",
            [hour, day, hour, day],
        )
        rows = [[int(value) for value in row] for row in cursor.fetchall()]
    found = Traffic()
    for channel, in_hour, in_day, *_ in rows:
        found.hour[channel], found.day[channel] = in_hour, in_day
    found.hour_stops = before > 0 and not sum(row[3] for row in rows)
    found.day_stops = before > 0 and not sum(row[4] for row in rows)
    return found


def flow(after: int, upto: int, most: int) -> tuple[int, int]:
    """
    Return how many messages are in (after, upto], and how many wait for a position.

    Each is counted up to `most + 1`, which means more. One query, two short ranges of the
    index eric_log_tail.
    """
    conditions = (
        f"position > {int(after)} AND position <= {int(upto)} AND {NO_CONTROLS}",
        f"position IS NULL AND {NO_CONTROLS}",
    )
    dialect = log_dialect()
    branches = [
        f"SELECT {number}, (SELECT COUNT(*) FROM (SELECT 1 AS one FROM {dialect.log} "
        f"WHERE {condition} LIMIT {int(most) + 1}) counted)"
        for number, condition in enumerate(conditions)
    ]
    counts = dict(dialect.union_all(branches))
    return counts[0], counts[1]


def count_listeners(channels: Iterable[int], most: int) -> dict[int, int]:
    """Return how many listeners each channel has; `most + 1` means more."""
    return _count(log_dialect().listeners, channels, most)


def count_messages(channels: Iterable[int], most: int) -> dict[int, int]:
    """Return how many messages of each channel are kept; `most + 1` means more."""
    return _count(log_dialect().log, channels, most)


def _count(table: str, channels: Iterable[int], most: int) -> dict[int, int]:
    dialect, keys = log_dialect(), [int(key) for key in channels]

    def counted(key: object) -> str:
        rows = f"SELECT 1 AS one FROM {table} WHERE channel_id = {key} LIMIT {most + 1}"
        return f"SELECT {key}, (SELECT COUNT(*) FROM ({rows}) counted)"

    if keys and dialect.joins_values:  # see queues._depths_joined() for the reason
        values = ", ".join(f"({key})" for key in keys)
        asked = f"{counted('asked')} FROM (VALUES {values}) of_page (asked)"
        return dict(dialect.union_all([asked]))
    return dict(dialect.union_all([counted(key) for key in keys]))
