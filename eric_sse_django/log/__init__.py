"""
The log: append, sequence, read, trim. The only package that queries the messages.

A row is inserted without a position, in the publisher's transaction. `sequence()` gives
positions to committed rows, in its own short transaction: so the order is the order of
commit, and a row that is committed late cannot be skipped. A row that is inserted alone may get
its position with its INSERT, under the same lock: see inserting.
"""

from eric_sse_django.log.address import END, Address, Recipient
from eric_sse_django.log.chores import Chore, add_chore
from eric_sse_django.log.chores import chores as all_chores
from eric_sse_django.log.dialect import (
    Dialect,
    array_text,
    dialect_of,
    kind_of,
    log_dialect,
    moment_of,
)
from eric_sse_django.log.history import (
    MAX_POSITION,
    base_of,
    begin_history,
    connect,
    connected,
    go_on_above_all,
    is_as_known,
    is_known,
    lower_what_is_beyond,
    number_of,
)
from eric_sse_django.log.inserting import Insertion, segments_of
from eric_sse_django.log.limits import forget_counts, too_old
from eric_sse_django.log.memory import MemoryLog
from eric_sse_django.log.packing import pack_entries, pack_stamp, unpack_entries, unpack_stamp
from eric_sse_django.log.page import Page
from eric_sse_django.log.partitions import trim
from eric_sse_django.log.protocol import (
    SEGMENT_MESSAGES,
    AnotherLog,
    Between,
    Channels,
    ChannelSegment,
    Draft,
    Found,
    Head,
    Known,
    Log,
    Look,
    PassOn,
    Replica,
    Segment,
    is_next,
)
from eric_sse_django.log.publishing import (
    append,
    append_one,
    append_placed,
    append_to,
    control,
    copies,
    draft,
    insertion_of,
    lifetime_of,
    notice,
    payload_text,
    readdress,
    row,
    rows,
)
from eric_sse_django.log.reader import (
    channels_between,
    fitting,
    follow,
    look,
    position_at,
    read,
    waiting,
)
from eric_sse_django.log.replacing import replace_own
from eric_sse_django.log.replica import configured_replica
from eric_sse_django.log.retention import forget, forget_lapsed, lock_free
from eric_sse_django.log.sequencer import SEQUENCE_BATCH, head, pending, sequence
from eric_sse_django.models import database


class DatabaseLog:
    """The log in the project's database: functions of this package, as a Log."""

    connect = staticmethod(connect)
    append = staticmethod(append)
    sequence = staticmethod(sequence)
    head = staticmethod(head)
    follow = staticmethod(follow)
    look = staticmethod(look)
    channels_between = staticmethod(channels_between)
    read = staticmethod(read)
    position_at = staticmethod(position_at)
    replica = staticmethod(configured_replica)

    @staticmethod
    def trim() -> int:
        removed = trim()
        if not removed:
            forget_lapsed()
        return removed


# The one that a project has, unless a hub or a notifier is given another.
DATABASE: Log = DatabaseLog()

__all__ = [
    "DATABASE",
    "END",
    "MAX_POSITION",
    "SEGMENT_MESSAGES",
    "SEQUENCE_BATCH",
    "Address",
    "AnotherLog",
    "Between",
    "ChannelSegment",
    "Channels",
    "Chore",
    "DatabaseLog",
    "Dialect",
    "Draft",
    "Found",
    "Head",
    "Insertion",
    "Known",
    "Log",
    "Look",
    "MemoryLog",
    "Page",
    "PassOn",
    "Recipient",
    "Replica",
    "Segment",
    "add_chore",
    "all_chores",
    "append",
    "append_one",
    "append_placed",
    "append_to",
    "array_text",
    "base_of",
    "begin_history",
    "channels_between",
    "connected",
    "control",
    "copies",
    "database",
    "dialect_of",
    "draft",
    "fitting",
    "follow",
    "forget",
    "forget_counts",
    "forget_lapsed",
    "go_on_above_all",
    "head",
    "insertion_of",
    "is_as_known",
    "is_known",
    "is_next",
    "kind_of",
    "lifetime_of",
    "lock_free",
    "log_dialect",
    "look",
    "lower_what_is_beyond",
    "moment_of",
    "notice",
    "number_of",
    "pack_entries",
    "pack_stamp",
    "payload_text",
    "pending",
    "position_at",
    "read",
    "readdress",
    "replace_own",
    "row",
    "rows",
    "segments_of",
    "sequence",
    "too_old",
    "trim",
    "unpack_entries",
    "unpack_stamp",
    "waiting",
]
