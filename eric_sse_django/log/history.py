"""
The histories of positions: one continues until the database goes back.

The history's number is in the high bits of each position, so a position of another history is
recognized, and all positions of a new one are above those given before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.models import BigIntegerField, Case, F, Max, Value, When
from django.utils import timezone

from eric_sse_django.log.dialect import Dialect, dialect_of, log_dialect
from eric_sse_django.log.protocol import Known
from eric_sse_django.models import Channel, Listener, LogHead, QueuedMessage, database

logger = logging.getLogger(__name__)

# Positions of one history: at 10,000 messages a second, those of 79 days. The next ones are only
# taken for another history. The rest, up to the 2**53 that JavaScript reads exactly, is
# the history's number.
POSITION_BITS = 36
BELOW_BASE = 2**POSITION_BITS - 1
MAX_NUMBER = 2 ** (53 - POSITION_BITS) - 1
# The highest position of a history that another one can follow.
MAX_POSITION = (MAX_NUMBER << POSITION_BITS) - 1
# The numbers follow the hours since then, until 2040: a backup that is restored twice
# gets two numbers, though it has no record of the first time.
FIRST_HOUR = 1_767_225_600 // 3_600  # 2026-01-01


class Seen(NamedTuple):
    """The log's head, and whether rows wait for a position."""

    head: Known
    waits: bool


def number_of(position: int) -> int:
    """Return the number of the history that a position is of."""
    return position >> POSITION_BITS


def base_of(position: int) -> int:
    """Return where the history of a position began: there is no message at it."""
    return position >> POSITION_BITS << POSITION_BITS


def next_base(top: int) -> int:
    """Return where a history begins that follows every position up to `top`."""
    hours = int(time.time()) // 3_600 - FIRST_HOUR
    number = number_of(top) + 1
    return (max(number, hours) if hours < MAX_NUMBER else number) << POSITION_BITS


def is_same(known: Known, head: Known, past: Any) -> bool:
    """
    Whether a log with this head is the one that a reader knows, continued.

    `past` is the stamp of the message that it has at the known position, None for none.
    """
    if head.position < known.position:
        return False
    if head.position >> POSITION_BITS != known.position >> POSITION_BITS:
        return False
    if head.trimmed < known.trimmed:
        return False
    if head.position == known.position:
        return None in (known.stamp, head.stamp) or known.stamp == head.stamp
    if known.stamp is None or known.position & BELOW_BASE == 0:  # there is none at a base
        return True
    if past is None:
        return head.trimmed >= known.position
    return bool(past == known.stamp)


# The head ---------------------------------------------------------------------------


def see(using: str) -> Seen | None:
    """Return the head, None if there is none."""
    with connections[using].cursor() as cursor:
        return see_by(cursor, using)


def see_by(cursor: Any, using: str) -> Seen | None:
    """As see(), by a cursor that is open: to open one takes as long as a look."""
    cursor.execute(see_statement(using))
    row = cursor.fetchone()
    return None if row is None else seen_of(row)


def seen_of(row: Any) -> Seen:
    """Return what a row of see_statement() has."""
    position, waits, marked, mark, trimmed, log = row
    return Seen(Known(position, mark if marked == position else None, trimmed, log), bool(waits))


@lru_cache
def see_statement(using: str) -> str:
    """
    Return the SELECT of the head, of whether rows wait, and of what identifies its history.

    Stamps are numbers on PostgreSQL, as those of entries.
    """
    dialect = dialect_of(connections[using])
    return (
        f"SELECT position, EXISTS({dialect.waits}), marked, {dialect.stamp('marked_at')}, "
        f"trimmed, identity FROM {dialect.heads} WHERE id = {LogHead.THE_ONE}"
    )


def is_as_known(known: Known) -> bool:
    """Whether the log is the one that a reader knows. Two queries; one if its head is known."""
    using, past = database(), None
    seen = see(using)
    if seen is not None and seen.head.position > known.position:
        past = stamp_at(using, known.position)
        if past is None:
            seen = see(using)  # it may have been removed since
    return is_same(known, seen.head, past) if seen is not None else not known.position


def stamp_at(using: str, position: int) -> Any:
    """Return what a database's log has as the stamp of a position, None for no message there."""
    dialect = dialect_of(connections[using])
    stamp = dialect.stamp("created_at")
    with dialect.connection.cursor() as cursor:
        cursor.execute(f"SELECT {stamp} FROM {dialect.log} WHERE position = %s", [position])
        row = cursor.fetchone()
    return None if row is None else row[0]


def is_known(position: int) -> bool:
    """
    Whether the log has, or had, a message at a position: none after the head.

    Of an older history only those that exist, because it may have been longer once.
    """
    head = LogHead.objects.filter(pk=LogHead.THE_ONE)
    last = head.values_list("position", flat=True).first() or 0
    if position > last or number_of(position) == number_of(last):
        return position <= last
    return QueuedMessage.objects.filter(position=position).exists()


def highest() -> int:
    """Return the highest position that any row in the database has. Reads all listeners."""
    found = [
        *QueuedMessage.objects.aggregate(Max("position")).values(),
        *Listener.objects.aggregate(Max("cursor"), Max("start"), Max("floor")).values(),
        *Channel.objects.aggregate(Max("floor")).values(),
        *LogHead.objects.aggregate(Max("position"), Max("trimmed")).values(),
    ]
    return max(value or 0 for value in found)


def make_head(using: str) -> None:
    """
    Create the head if it was lost, by a flush: above all positions that rows have.

    Outside the transaction that locks it: on MariaDB two that insert it share its lock,
    and deadlock when each then asks for it alone.
    """
    if LogHead.objects.filter(pk=LogHead.THE_ONE).exists():
        return
    top = highest()
    position = next_base(top) if top else 0
    head = LogHead(
        pk=LogHead.THE_ONE,
        position=position,
        identity=identity(using),
        marked=position,
        marked_at=timezone.now(),
    )
    LogHead.objects.bulk_create([head], ignore_conflicts=True)


def note_removed(positions: Iterable[int]) -> None:
    """
    Record the highest position that was removed, for readers that have not read as far.

    They know by it that messages may be missing, and others that the database did not go back.
    Locks the head: so it comes last in the transaction that removes, or is committed before it.
    """
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
    top = max(positions, default=0)
    heads.filter(trimmed__lt=top).update(trimmed=top)


# A new history ----------------------------------------------------------------------


def begin_history(seen: int | None = None, above: int = 0) -> Known:
    """
    Begin a history above every position that was ever given; return the head.

    Does nothing if another process has done it: the head is of a later history than `seen`,
    a position of the old one. Without `seen` it is always done; `above` is one more position
    to begin above. Waits for the sequencer's lock.
    """
    using = database()
    make_head(using)
    lower_what_is_beyond()
    top = max(highest(), seen or 0, above)
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
    with transaction.atomic(using=using):
        heads.update(position=F("position"))  # locks it, on every database
        position, name = heads.values_list("position", "identity").get()
        mine = identity(using)
        is_begun = seen is not None and number_of(position) > number_of(seen)
        if not is_begun:
            base = next_base(max(top, position))
            now = timezone.now()
            heads.update(position=base, marked=base, marked_at=now, identity=mine or name)
    found = see(using)
    assert found is not None
    return found.head


def go_on_above_all() -> None:
    """Begin a history if a row has a position after the head. Reads all listeners."""
    using = database()
    make_head(using)
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
    if highest() > heads.values_list("position", flat=True).get():
        begin_history()


def lower_what_is_beyond() -> int:
    """
    Lower the cursors, starts and floors that are after the head; return how many rows.

    They were loaded from another database, or written to one that went back. Such a listener
    begins where it was added, as far as that is known.
    """
    head = LogHead.objects.filter(pk=LogHead.THE_ONE).values("position")[:1]
    known = When(start__lte=head, then=F("start"))
    start = Case(known, default=Value(0), output_field=BigIntegerField())
    changed = Listener.objects.filter(cursor__gt=head).update(cursor=start, start=start)
    changed += Listener.objects.filter(start__gt=head).update(start=0)
    changed += Listener.objects.filter(floor__gt=head).update(floor=0)
    return changed + Channel.objects.filter(floor__gt=head).update(floor=0)


# Which database it is ---------------------------------------------------------------


def identity(using: str) -> str:
    """
    Return what differs if a copy, a replica or a backup replaces the database.

    "" if nothing does: in memory, or where the role may not query it. Up to three queries.
    """
    connection = connections[using]
    # An error would break the caller's transaction.
    apart = transaction.atomic(using=using) if connection.in_atomic_block else nullcontext()
    try:
        with apart:
            return dialect_of(connection).identity()
    except (DatabaseError, OSError):
        logger.debug("the database has no identity", exc_info=True)
        return ""


def is_this_database(dialect: Dialect) -> bool:
    """
    Whether the database is the one that the head names. Queries once for each new connection.

    A head without a name, after an upgrade of the app, takes this one's.
    """
    connection = dialect.connection
    connection.ensure_connection()
    if dialect.compared is connection.connection:
        return True
    dialect.compared = connection.connection
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
    name = heads.values_list("identity", flat=True).first()
    mine = identity(connection.alias)
    if name is None or not mine or name == mine:
        return True
    if name:
        return False
    heads.filter(identity="").update(identity=mine)
    # The highest before the head: others give positions meanwhile.
    top = highest()
    return top <= heads.values_list("position", flat=True).get()


def connect() -> None:
    """Open this thread's connection, as connected()."""
    connected().connection.ensure_connection()


def connected(dialect: Dialect | None = None) -> Dialect:
    """
    Return log_dialect(), or the one given, with a new connection if its SQLite file was replaced.

    It would otherwise read the file that was removed or moved away. Not while there is no file:
    SQLite would create an empty one, in the way of the one that is about to be put there.
    """
    dialect = dialect or log_dialect()
    if not dialect.is_file:
        return dialect
    connection = dialect.connection
    # Before it connects: a number that is too old is noticed, one that is too new is not.
    inode = dialect.inode()
    raw, opened = dialect.opened
    if connection.connection is not None and raw is connection.connection:
        if inode in (None, opened) or connection.in_atomic_block:
            return dialect
        connection.close()
    connection.ensure_connection()
    dialect.opened = connection.connection, inode
    return dialect
