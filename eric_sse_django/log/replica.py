"""
Reading backlogs from a replica of the database, which may be late.

All that a page needs is read in one snapshot: it is the page that the log itself had when its
head was where the replica's is. See "A replica" in docs/design.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections

from eric_sse_django import conf
from eric_sse_django.log.address import Recipient
from eric_sse_django.log.dialect import Dialect, dialect_of
from eric_sse_django.log.history import base_of, connected, is_same, number_of, see, stamp_at
from eric_sse_django.log.limits import must_count
from eric_sse_django.log.page import Page
from eric_sse_django.log.protocol import AnotherLog, Found, Known, Replica
from eric_sse_django.log.reader import rows_of
from eric_sse_django.log.reset import add_resets, floor_of


class DatabaseReplica:
    """The replica with an alias of DATABASES."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def read(
        self, recipients: Sequence[Recipient], known: Known, upto: int, limit: int
    ) -> Found | None:
        # How much may wait is counted where all is that waits.
        if any(must_count(recipient, upto) for recipient in recipients):
            return None
        dialect = connected(dialect_of(connections[self._alias]))
        with dialect.snapshot():
            seen = see(self._alias)
            head = Known(0) if seen is None else seen.head
            # Not after what is known: that is where the two are compared.
            upto = min(upto, head.position, known.position)
            is_late = upto <= min(recipient.after for recipient in recipients)
            if is_late or number_of(head.position) != number_of(known.position):
                return None
            is_proven = self._is_proven(known, head)
            pages = []
            for number, recipient in enumerate(recipients, start=1):
                page = _page(dialect, recipient, upto, limit, len(recipients) - number)
                if page is None:
                    return None
                pages.append(page)
        return Found(Page.merged(pages, limit), upto, head, is_proven)

    def _is_proven(self, known: Known, head: Known) -> bool:
        """Return whether the replica has what is known; False where it may not have it yet."""
        is_one = not (known.log and head.log) or known.log == head.log
        has_it = head.position >= known.position
        if is_one and has_it:
            # It may have been trimmed since, and the replica be late in that alone.
            known = known._replace(trimmed=0)
            is_one = is_same(known, head, stamp_at(self._alias, known.position))
        if not is_one:
            raise AnotherLog(f"the replica {self._alias!r} has another history")
        return has_it


def _page(
    dialect: Dialect, recipient: Recipient, upto: int, limit: int, before_base: int
) -> Page | None:
    """Return a recipient's page as reader.read() does; None if the replica lacks its row."""
    floor = floor_of(dialect, recipient.channel, recipient.listener)
    if floor is None:
        return None
    page = rows_of(dialect, recipient, upto, limit)
    return add_resets(page, recipient, {floor, base_of(upto) - before_base}, None, [])


def configured_replica() -> Replica | None:
    """Return the one of the setting REPLICA."""
    alias = conf.get("REPLICA")
    return None if alias is None else DatabaseReplica(alias)
