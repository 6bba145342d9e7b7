"""What is passed on to the hubs: segments of the rows that got positions, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections

from eric_sse_django.entry import Entry
from eric_sse_django.log.dialect import CHANNEL, CREATED_AT, PAYLOAD, Dialect, dialect_of
from eric_sse_django.log.protocol import Known, Segment

# Messages of a segment at most, bytes of their payloads together, and of one payload where these
# cannot be added up. PostgreSQL sends the rows before it commits: with 14 MB, a client
# that did not read them kept the head locked. These fit into any connection's buffers.
SEGMENT_MESSAGES = 128
SEGMENT_BYTES = 32_768
SEGMENT_PAYLOAD_BYTES = 4_096
# The columns of mark(), in a statement in which the head's have changed.
OLD_MARK = "before, old_marked, old_mark, old_trimmed, old_identity"


def mark(dialect: Dialect) -> str:
    """Return the columns that identify the history of a head: see Known."""
    return f"position, marked, {dialect.stamp('marked_at')}, trimmed, identity"


def segment_of(using: str, head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Segment:
    """Return the segment of rows with dialect.columns(), in order, that follow a head's mark()."""
    position, marked, stamp, trimmed, log = head
    before = Known(position, stamp if marked == position else None, trimmed, log)
    known = Known(rows[-1][0], rows[-1][CREATED_AT], trimmed, log)
    sizes = [SEGMENT_BYTES + 1 if row[PAYLOAD] is None else len(row[PAYLOAD]) for row in rows]
    entries: list[Entry] | None = None
    if sum(sizes) <= SEGMENT_BYTES:
        entries = dialect_of(connections[using]).entries(rows)
    return Segment(before, known, frozenset(row[CHANNEL] for row in rows), entries)
