"""
The log: append, sequence, read, trim. The only package that queries the messages.

A row is born without a position, in the publisher's transaction. `sequence()` gives
positions to committed rows, in a short transaction of its own: so the order is the
order of commit, and a row that commits late cannot be skipped.
"""

from eric_sse_django.log.append import append, append_to, control, notice, row
from eric_sse_django.log.bound import forget_counts, too_old
from eric_sse_django.log.dialect import dialect_of, log_dialect
from eric_sse_django.log.forget import forget, forget_lapsed
from eric_sse_django.log.history import (
    base_of,
    begin_history,
    go_on_above_all,
    is_as_known,
    is_known,
    lower_what_is_beyond,
    number_of,
)
from eric_sse_django.log.identity import connected
from eric_sse_django.log.insert import Draft
from eric_sse_django.log.locks import lock_free
from eric_sse_django.log.merge import read_all
from eric_sse_django.log.moment import moment_of, position_at
from eric_sse_django.log.page import Page
from eric_sse_django.log.protocol import Head, Known, Log, Look, Reader
from eric_sse_django.log.ranges import END
from eric_sse_django.log.read import read, waiting
from eric_sse_django.log.sequence import SEQUENCE_BATCH, head, pending, sequence
from eric_sse_django.log.tail import first_look, follow, look, tail
from eric_sse_django.log.trim import trim
from eric_sse_django.models import database


class DatabaseLog:
    """The log in the project's database: the functions of this package, as a Log."""

    append = staticmethod(append)
    sequence = staticmethod(sequence)
    head = staticmethod(head)
    follow = staticmethod(follow)
    look = staticmethod(look)
    read = staticmethod(read_all)
    position_at = staticmethod(position_at)
    trim = staticmethod(trim)


# The one that a project has, unless a hub or a notifier is given another.
DATABASE: Log = DatabaseLog()

__all__ = [
    "DATABASE",
    "END",
    "SEQUENCE_BATCH",
    "DatabaseLog",
    "Draft",
    "Head",
    "Known",
    "Log",
    "Look",
    "Page",
    "Reader",
    "append",
    "append_to",
    "base_of",
    "begin_history",
    "connected",
    "control",
    "database",
    "dialect_of",
    "first_look",
    "follow",
    "forget",
    "forget_counts",
    "forget_lapsed",
    "go_on_above_all",
    "head",
    "is_as_known",
    "is_known",
    "lock_free",
    "log_dialect",
    "look",
    "lower_what_is_beyond",
    "moment_of",
    "notice",
    "number_of",
    "pending",
    "position_at",
    "read",
    "read_all",
    "row",
    "sequence",
    "tail",
    "too_old",
    "trim",
    "waiting",
]
