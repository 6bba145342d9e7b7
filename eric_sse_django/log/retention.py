"""Removing messages whose retention has ended, with floors for those that have not seen them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import F, Model
from django.utils import timezone

from eric_sse_django.entry import CONTROLS, RESERVED_PREFIX
from eric_sse_django.log.dialect import dialect_of, log_dialect
from eric_sse_django.log.history import connected, note_removed
from eric_sse_django.log.lifetime import is_over
from eric_sse_django.models import Channel, Listener, QueuedMessage, Revocation, database

# Rows removed in one transaction: it takes a few milliseconds, so that no publisher waits.
TRIM_BATCH = 1_000
# Seconds that a statement waits for a lock of others.
LOCK_TIMEOUT_S = 2
# Seconds for which the next batch begins where a full one ended. PostgreSQL's index keeps what
# was removed until a vacuum: to find the oldest took 2 ms at first, 16 after 1,000,000 rows.
RESUME_S = 5.0
# Floors in one statement, which examines all of them for each row it changes. With them a
# trim that concerns 1,000 listeners takes 0.17 s on PostgreSQL, one by one it took 2.5 s.
RAISED_AT_ONCE = 100

_ended: dict[str, tuple[float, datetime]] = {}  # by database: until when, and where


def trim(later_s: float = 0.0) -> int:
    """
    Remove up to TRIM_BATCH messages whose retention has ended, oldest first; return how many.

    Those whose retention ended `later_s` ago or earlier.

    An expired one is kept a little longer, though it is not delivered (UNREAD_S). A series of
    full batches goes through the log once; messages that were skipped are next at its end.

    In the same transaction the floors rise of the channels and listeners that may have missed
    messages, so that their streams get an `eric-reset`. An expired message is no loss. A
    message stays, until the next trim, while a transaction of others has locked its channel, or
    a listener whose floor is to rise. Waits LOCK_TIMEOUT_S for other locks, and raises
    OperationalError then (on SQLite as its settings have it).
    """
    connected()
    using = database()
    while rows := _oldest(using, timezone.now() - timedelta(seconds=later_s)):
        with log_dialect().impatient(LOCK_TIMEOUT_S):
            removed = _remove(rows)
        # A full batch of which every message stays must not block the messages after it.
        is_behind = len(rows) == TRIM_BATCH and rows[0][-1] < rows[-1][-1]
        if removed or not is_behind:
            return removed
    return 0


def _oldest(using: str, now: datetime) -> list[Any]:
    """Return the next rows to remove: those of a Lost, type, perishable and expires_at."""
    rows = (
        QueuedMessage.objects.filter(is_over(now), position__isnull=False)
        .order_by("expires_at")
        .values_list(*Lost._fields, "type", "perishable", "expires_at")
    )
    until, first = _ended.pop(using, (0.0, None))
    found: list[Any] = []
    if first is not None and time.monotonic() < until:
        found = list(rows.filter(expires_at__gte=first)[:TRIM_BATCH])
    found = found or list(rows[:TRIM_BATCH])
    if len(found) == TRIM_BATCH:
        _ended[using] = time.monotonic() + RESUME_S, found[-1][-1]
    return found


def _remove(rows: list[Any]) -> int:
    # Control messages to open streams are no loss to a listener that had none.
    stay = raise_floors(
        Lost(*lost)
        for *lost, type, perishable, _ in rows
        if not (perishable or type.startswith(RESERVED_PREFIX))
    )
    gone = [row for row in rows if row[0] not in stay]
    ids = [row[0] for row in gone]
    removed, _ = QueuedMessage.objects.filter(id__in=ids).delete()
    note_removed(row[1] for row in gone)
    return removed


def forget(channel: int) -> int:
    """
    Remove a removed channel's messages in batches; return how many.

    Control messages stay for its open streams, until their retention ends.
    """
    rows = QueuedMessage.objects
    removed, found = 0, TRIM_BATCH
    while found == TRIM_BATCH:  # fewer: the rest is what stale publishers still add
        messages = rows.filter(channel_id=channel).exclude(type__in=CONTROLS)
        positions = dict(messages.values_list("pk", "position")[:TRIM_BATCH])
        found = len(positions)
        removed += _forget(positions)
    return removed


def _forget(positions: Mapping[int, int | None]) -> int:
    """
    Remove messages, with the position of each that had one; return how many.

    Others may get one meanwhile. A hub that has read up to it, and then finds neither the message
    nor that it was removed, would take the log for one that went back: all streams would end.
    """
    rows = QueuedMessage.objects
    placed = {pk: position for pk, position in positions.items() if position is not None}
    # Before the removal: a transaction with locks on rows that waits for the head would
    # block the sequencer, which has locked that.
    note_removed(placed.values())
    removed, _ = rows.filter(pk__in=placed).delete()
    waiting = positions.keys() - placed.keys()
    if waiting:
        # A sum, so that no planner uses it: MariaDB would wait for the rows of open transactions.
        still = rows.alias(at=F("position") + 0).filter(pk__in=waiting, at__isnull=True)
        removed += still.delete()[0]
        later = rows.filter(pk__in=waiting, position__isnull=False)
        if left := dict(later.values_list("pk", "position")):
            removed += _forget(left)
    return removed


def forget_lapsed() -> int:
    """Remove the revocations of what has expired meanwhile; return how many."""
    rows = Revocation.objects.filter(expires_at__lt=timezone.now())
    return rows.delete()[0]


# Floors -----------------------------------------------------------------------------


class Lost(NamedTuple):
    """A message that retention removes, and its address."""

    id: int
    position: int
    channel: int
    listener: int | None
    owner: Any


def raise_floors(lost: Iterable[Lost]) -> set[int]:
    """
    Raise the floors of all that might miss these messages; return the ids that must stay.

    In the caller's transaction. A message stays, until the next trim, if its channel or a
    listener is locked by others. Also of listeners that were served, because a client may
    reconnect with an older Last-Event-ID. A few queries, and one for each channel.
    """
    lost = list(lost)
    broadcasts = [each for each in lost if each.listener is None and each.owner is None]
    # On MariaDB a transaction that has added a listener locks its channel.
    locked = _lock_free(Channel, {each.channel for each in broadcasts})
    channels = _highest(
        (each.channel, each.position) for each in broadcasts if each.channel not in locked
    )
    # By key, so that two trims at once take their locks in one order.
    for channel, floor in sorted(channels.items()):
        Channel.objects.filter(pk=channel, floor__lt=floor).update(floor=floor)
    recipients = _recipients(lost)
    others = lock_free({listener for found in recipients.values() for listener in found})
    stay = {id for id, listeners in recipients.items() if not others.isdisjoint(listeners)}
    stay |= {each.id for each in broadcasts if each.channel in locked}
    gone = [each for each in lost if each.id not in stay]
    _raise(_highest((to, each.position) for each in gone for to in recipients.get(each.id, ())))
    return stay


def _highest(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for key, position in pairs:
        found[key] = max(position, found.get(key, 0))
    return found


def _recipients(lost: Iterable[Lost]) -> dict[int, list[int]]:
    """Return the listeners of each message to a listener or an owner, by its id."""
    own = {each.id: [each.listener] for each in lost if each.listener is not None}
    owned = {each.id: (each.channel, each.owner) for each in lost if each.owner is not None}
    listeners = _listeners_of(set(owned.values()))
    return own | {id: listeners.get(pair, []) for id, pair in owned.items()}


def _listeners_of(pairs: set[tuple[int, Any]]) -> Mapping[tuple[int, Any], list[int]]:
    """Return the listeners that each owner has in a channel. One query, none for none."""
    found: dict[tuple[int, Any], list[int]] = defaultdict(list)
    if pairs:
        channels, owners = zip(*pairs, strict=True)
        rows = Listener.objects.filter(channel__in=set(channels), owner__in=set(owners))
        for pk, channel, owner in rows.values_list("pk", "channel", "owner"):
            found[channel, owner].append(pk)
    return found


def _raise(floors: Mapping[int, int]) -> None:
    dialect = log_dialect()
    pairs = sorted(floors.items())
    with dialect.connection.cursor() as cursor:
        for first in range(0, len(pairs), RAISED_AT_ONCE):
            part = pairs[first : first + RAISED_AT_ONCE]
            floor = " ".join(f"WHEN {int(pk)} THEN {int(position)}" for pk, position in part)
            keys = ", ".join(str(int(pk)) for pk, _ in part)
            cursor.execute(
                f"UPDATE {dialect.listeners} SET floor = CASE id {floor} END "
                f"WHERE id IN ({keys}) AND floor < CASE id {floor} END"
            )


# Locks ------------------------------------------------------------------------------


def lock_free(listeners: Collection[int]) -> set[int]:
    """
    Lock the listeners that nobody else has locked; return the keys of the others.

    In the caller's transaction. Never waits: a long request that calls pop() would otherwise
    block a hub that writes many listeners, and two of these might deadlock. Returns none where
    the database does not lock single rows (SQLite), or cannot skip locked ones.
    """
    return _lock_free(Listener, listeners)


def _lock_free(model: type[Model], keys: Collection[int]) -> set[int]:
    using = database()
    dialect = dialect_of(connections[using])
    if not keys or not dialect.skips_locked:
        return set()
    with dialect.connection.cursor() as cursor:
        cursor.execute(_lock(using, model).format(",".join(map(str, sorted(keys)))))
        others = set(keys) - {row[0] for row in cursor.fetchall()}
    # Again: a row that was removed is not locked, and not to be kept.
    rows = model._default_manager.filter(pk__in=others)
    return set(rows.values_list("pk", flat=True)) if others else set()


@lru_cache
def _lock(using: str, model: type[Model]) -> str:
    """Return the SELECT whose keys replace `{}`: as Django's query, 500 take 3 ms of CPU."""
    dialect = dialect_of(connections[using])
    table = dialect.connection.ops.quote_name(model._meta.db_table)
    return f"SELECT id FROM {table} WHERE id IN ({{}}) {dialect.for_update} SKIP LOCKED"
