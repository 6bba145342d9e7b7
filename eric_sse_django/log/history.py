"""
The histories of positions: one goes on until the database goes back.

The number of the history stands in the high bits of each position, so a position of another
history is known as such, and all positions of a new one are above those given before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import BigIntegerField, Case, F, Max, Value, When
from django.utils import timezone

from eric_sse_django.log.dialect import dialect_of
from eric_sse_django.log.identity import identity, is_new
from eric_sse_django.log.protocol import Known
from eric_sse_django.log.statements import see_statement
from eric_sse_django.models import Channel, Listener, LogHead, QueuedMessage, database

# Positions of one history: at 10,000 messages a second, those of 79 days. What comes then is
# only taken for another history. The rest, up to the 2**53 that JavaScript reads exactly, is
# the history's number.
POSITION_BITS = 36
MAX_NUMBER = 2 ** (53 - POSITION_BITS) - 1
# The numbers follow the hours since then, until 2040: a backup that is restored twice
# gets two numbers, though it does not know of the first time.
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
    return number_of(position) << POSITION_BITS


def is_same(known: Known, head: Known, past: Any) -> bool:
    """
    Whether a log with this head is the one that a reader knows, gone on.

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
    if known.stamp is None or known.position == base_of(known.position):
        return True
    if past is None:
        return head.trimmed >= known.position
    return bool(past == known.stamp)


def see(using: str) -> Seen | None:
    """Return the head, None where there is none."""
    with connections[using].cursor() as cursor:
        return see_by(cursor, using)


def see_by(cursor: Any, using: str) -> Seen | None:
    """As see(), by a cursor that is open: to open one takes as long as a look."""
    cursor.execute(see_statement(using))
    row = cursor.fetchone()
    return None if row is None else seen_of(row)


def seen_of(row: Any) -> Seen:
    """Return what a row of see_statement() says."""
    position, waits, trimmed, marked, mark = row
    return Seen(Known(position, mark if marked == position else None, trimmed), bool(waits))


def is_as_known(known: Known) -> bool:
    """Whether the log is the one that a reader knows. Two queries; one where it stands there."""
    using, past = database(), None
    seen = see(using)
    if seen is not None and seen.head.position > known.position:
        past = _stamp_at(using, known.position)
        if past is None:
            seen = see(using)  # it may have been removed since
    return is_same(known, seen.head, past) if seen is not None else not known.position


def _stamp_at(using: str, position: int) -> Any:
    dialect = dialect_of(connections[using])
    stamp = dialect.stamp("created_at")
    with dialect.connection.cursor() as cursor:
        cursor.execute(f"SELECT {stamp} FROM {dialect.log} WHERE position = %s", [position])
        row = cursor.fetchone()
    return None if row is None else row[0]


def is_known(position: int) -> bool:
    """
    Whether the log has, or had, a message at a position: none beyond the head.

    Of an older history only what is there counts, for it may have gone further once.
    """
    head = LogHead.objects.filter(pk=LogHead.THE_ONE)
    last = head.values_list("position", flat=True).first() or 0
    if position > last or number_of(position) == number_of(last):
        return position <= last
    return QueuedMessage.objects.filter(position=position).exists()


def is_this_database(using: str, connection: Any = None) -> bool:
    """
    Whether the database is the one that the head names. Asks once for each new connection.

    A head that names none, for the app was upgraded, takes this one's name.
    """
    if not is_new(connection or connections[using]):
        return True
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
    name = heads.values_list("identity", flat=True).first()
    mine = identity(using)
    if name is None or not mine or name == mine:
        return True
    if name:
        return False
    heads.filter(identity="").update(identity=mine)
    # What is highest before the head: others give positions meanwhile.
    top = highest()
    return top <= heads.values_list("position", flat=True).get()


def highest() -> int:
    """Return the highest position that anything in the database names. Reads all listeners."""
    found = [
        *QueuedMessage.objects.aggregate(Max("position")).values(),
        *Listener.objects.aggregate(Max("cursor"), Max("start"), Max("floor")).values(),
        *Channel.objects.aggregate(Max("floor")).values(),
        *LogHead.objects.aggregate(Max("position"), Max("trimmed")).values(),
    ]
    return max(value or 0 for value in found)


def begin_history(seen: int | None = None, above: int = 0) -> Known:
    """
    Have all positions from now on be above every one that was ever given; return the head.

    Nothing is done where another process did it: the head is of a later history than `seen`,
    a position of the old one. Without `seen` it is done anyway; `above` is one more position
    to go on above. Waits for the sequencer's lock.
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


def next_base(top: int) -> int:
    """Return where a history begins that comes after every position up to `top`."""
    hours = int(time.time()) // 3_600 - FIRST_HOUR
    number = number_of(top) + 1
    return (max(number, hours) if hours < MAX_NUMBER else number) << POSITION_BITS


def go_on_above_all() -> None:
    """Begin a new history where a row names a position beyond the head. Reads all listeners."""
    using = database()
    make_head(using)
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
    if highest() > heads.values_list("position", flat=True).get():
        begin_history()


def make_head(using: str) -> None:
    """
    Make the head where it was lost, by a flush; above all that the rows name.

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
    Note the highest position that was removed, for readers that have not come as far.

    They know then that something may be missing, and others that nobody went back. Locks the
    head: so it comes last in the transaction that removes, or is committed before that.
    """
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
    top = max(positions, default=0)
    heads.filter(trimmed__lt=top).update(trimmed=top)


def lower_what_is_beyond() -> int:
    """
    Take back the cursors, starts and floors that are beyond the head; return how many rows.

    Nobody has served those: they were loaded from elsewhere, or written to a database that
    went back. Such a listener begins where it was added, as far as that is known.
    """
    head = LogHead.objects.filter(pk=LogHead.THE_ONE).values("position")[:1]
    listeners = Listener.objects
    known = When(start__lte=head, then=F("start"))
    start = Case(known, default=Value(0), output_field=BigIntegerField())
    changed = listeners.filter(cursor__gt=head).update(cursor=start, start=start)
    changed += listeners.filter(start__gt=head).update(start=0)
    changed += listeners.filter(floor__gt=head).update(floor=0)
    return changed + Channel.objects.filter(floor__gt=head).update(floor=0)
