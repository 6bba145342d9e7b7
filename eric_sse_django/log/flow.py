"""How much flows: what was published between two places, and what has no place yet."""

from __future__ import annotations

from eric_sse_django.log.ranges import NO_CONTROLS, log_table
from eric_sse_django.log.union import union_all


def flow(after: int, upto: int, most: int) -> tuple[int, int]:
    """
    Return how many messages stand in (after, upto], and how many wait for a position.

    Each is counted to `most + 1`, which means more. One query, two short walks along the
    index eric_log_tail.
    """
    places = (
        f"position > {int(after)} AND position <= {int(upto)} AND type NOT IN ({NO_CONTROLS})",
        f"position IS NULL AND type NOT IN ({NO_CONTROLS})",
    )
    branches = [
        f"SELECT {number}, (SELECT COUNT(*) FROM (SELECT 1 AS one FROM {log_table()} "
        f"WHERE {place} LIMIT {int(most) + 1}) counted)"
        for number, place in enumerate(places)
    ]
    counts = dict(union_all(branches))
    return counts[0], counts[1]
