"""How many messages wait in listeners' queues, and since when."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.address import NO_CONTROLS, Range, Recipient, q, where
from eric_sse_django.log.dialect import MAX_BRANCHES, log_dialect
from eric_sse_django.models import Listener, QueuedMessage


@dataclass(frozen=True)
class Depth:
    """How many messages wait (counted to at most one over the limit), and the oldest's time."""

    waiting: int = 0
    oldest: datetime | None = None


def depths(listeners: Iterable[Listener], most: int = 1_000) -> dict[int, Depth]:
    """
    Return the depth of each listener's queue, by primary key; `most + 1` means more.

    An expired message counts until it is removed (TRIM_INTERVAL_S): the index does not have it.
    One query for each 400 ranges, of which a listener has two or three; a range that
    several listeners share, such as broadcasts after one cursor, is counted once. On
    PostgreSQL one query.
    """
    rows = list(listeners)
    of_row = {row.pk: Recipient.of(row).ranges() for row in rows}
    ranges = list(dict.fromkeys(part for found in of_row.values() for part in found))
    dialect = log_dialect()
    ask = _depths_joined if dialect.joins_values else _depths_united
    found, when = ask(ranges, most + 1), dialect.to_datetime
    by_range = {ranges[number]: (count, when(oldest)) for number, count, oldest in found}
    return {pk: _sum([by_range[part] for part in parts], most) for pk, parts in of_row.items()}


def _depths_united(ranges: list[Range], limit: int) -> list[Any]:
    branches = [_question(str(number), part.rows(), limit) for number, part in enumerate(ranges)]
    return log_dialect().union_all(branches, [part.params() * 2 for part in ranges])


def _depths_joined(ranges: list[Range], limit: int) -> list[Any]:
    """
    Query all ranges of a kind in one join.

    PostgreSQL plans each SELECT of a union separately, estimates the whole as expensive, and
    compiles all of them: 2 s for 232 ranges, where this takes 10 ms.
    """
    kinds: dict[Any, list[tuple[int, Range]]] = {}
    for number, part in enumerate(ranges):
        kinds.setdefault((part.to.listener is None, part.to.owner is None), []).append(
            (number, part)
        )
    branches, params = [], []
    for parts in kinds.values():
        values = ", ".join(part.values(number) for number, part in parts)
        names = "asked (number, channel, listener, owner, after)"
        question = _question("number", parts[0][1].rows_of("asked"), limit)
        branches.append(f"{question} FROM (VALUES {values}) {names}")
        params.append([value for _, part in parts for value in part.params()])
    return log_dialect().union_all(branches, params)


def _question(number: str, rows: str, limit: int) -> str:
    return (
        f"SELECT {number}, (SELECT COUNT(*) FROM (SELECT 1 AS one {rows} LIMIT {limit}) counted), "
        f"(SELECT created_at {rows} {log_dialect().order()} LIMIT 1)"
    )


def _sum(parts: list[tuple[int, datetime | None]], most: int) -> Depth:
    waiting = min(sum(count for count, _ in parts), most + 1)
    return Depth(waiting, min((oldest for _, oldest in parts if oldest), default=None))


_ADDRESSES = {
    "_to_all": q(None, None),
    "_to_it": q(OuterRef("pk"), None) & ~Q(type__in=CONTROLS),
    "_to_owner": q(None, OuterRef("owner")),
}
_IN_ORDER = ("listener_id", "owner_id", "position")


def lagging(listeners: QuerySet[Listener], since: datetime) -> QuerySet[Listener]:
    """
    Return the listeners with a waiting message that was published before `since`.

    Two or three index lookups for each listener that is examined.
    """
    if not log_dialect().correlated_ranges:
        # The database cannot begin a range after an outer row's cursor, and would scan from the
        # first message: so it scans back from the last one, over younger messages.
        order = [f"-{column}" for column in _IN_ORDER]
        rows = QueuedMessage.objects.filter(created_at__lt=since, position__isnull=False)
        late = Q(**{f"{name}__gt": F("cursor") for name in _ADDRESSES}, _connector=Q.OR)
        return _alias(listeners, rows, order, "position").filter(late)
    rows = QueuedMessage.objects.filter(position__gt=OuterRef("cursor"))
    late = Q(**{f"{name}__lt": since for name in _ADDRESSES}, _connector=Q.OR)
    return _alias(listeners, rows, list(_IN_ORDER), "created_at").filter(late)


def _alias(
    listeners: QuerySet[Listener], rows: QuerySet[QueuedMessage], order: list[str], column: str
) -> QuerySet[Listener]:
    """Annotate each listener with a column of the first row of each kind of address."""
    rows = rows.filter(channel=OuterRef("channel")).order_by(*order)
    return listeners.alias(
        **{
            name: Subquery(rows.filter(address).values(column)[:1])
            for name, address in _ADDRESSES.items()
        }
    )


# Conditions for each kind of address, and the column whose keys replace {}.
KIND_ALL = where(None, None)
KIND_ONE = f"{where('{}', None)} AND {NO_CONTROLS}"
KIND_OWNER = where(None, "{}")
# Rows counted at most: with many different cursors, each is counted less far.
MAX_COUNTED = 40_000
COLUMNS = {KIND_ALL: "listener", KIND_ONE: "listener", KIND_OWNER: "owner"}


@dataclass(frozen=True)
class ListenerCursor:
    """A listener, by keys, and its cursor."""

    listener: int
    channel: int
    owner: Any
    cursor: int


@dataclass(frozen=True)
class Group:
    """The messages of one kind of address for the listeners at one cursor of a channel."""

    kind: str
    channel: int
    after: int
    keys: Sequence[Any] = ()
    weight: int = 1  # the number of queues that each of these messages is in


def backlog(cursors: Iterable[ListenerCursor], upto: int, most: int) -> tuple[int, bool]:
    """
    Return the sum of the listeners' queues in (cursor, upto], and whether there is more.

    Counts at most `most`. One query, none if all cursors are at `upto`: listeners of one
    channel at one cursor are counted together, and what does not fit into one statement is
    left out.
    """
    parts = list(_parts(each for each in cursors if each.cursor < upto))
    some = parts[:MAX_BRANCHES]
    ask = _joined if log_dialect().joins_values else _united
    limit = min(most, MAX_COUNTED // (len(some) or 1)) + 1
    counts = ask(some, upto, limit)
    total = sum(weight * count for weight, count in counts)
    more = any(count == limit for _, count in counts) or len(some) < len(parts)
    return min(total, most), more or total > most


def _parts(cursors: Iterable[ListenerCursor]) -> Iterator[Group]:
    groups: dict[tuple[int, int], set[ListenerCursor]] = defaultdict(set)
    for each in cursors:
        groups[each.channel, each.cursor].add(each)
    for at, group in groups.items():
        yield Group(KIND_ALL, *at, weight=len(group))
        yield Group(KIND_ONE, *at, [each.listener for each in group])
        owners: dict[int, list[Any]] = defaultdict(list)
        for owner, listeners in Counter(p.owner for p in group if p.owner is not None).items():
            owners[listeners].append(owner)
        for listeners, keys in owners.items():
            yield Group(KIND_OWNER, *at, keys, weight=listeners)


def _united(parts: Sequence[Group], upto: int, limit: int) -> list[Any]:
    """Return (weight, count) of each part, each from its own SELECT."""
    branches, params = [], []
    for part in parts:
        marks = f"IN ({', '.join(['%s'] * len(part.keys))})"
        numbers = str(int(part.channel)), str(int(part.after))
        count = _counted(part.kind.format(marks), *numbers, upto, limit)
        branches.append(f"SELECT {part.weight}, {count}")
        params.append(_prepared(part))
    return log_dialect().union_all(branches, params)


def _joined(parts: Sequence[Group], upto: int, limit: int) -> list[Any]:
    """Return the same, queried by kind; for the reason see _depths_joined()."""
    branches, params = [], []
    for kind, column in COLUMNS.items():
        rows = [part for part in parts if part.kind == kind]
        if not rows:
            continue
        array = f"{log_dialect().type_of(column)}[]"
        values = ", ".join(
            f"({int(part.channel)}, CAST({int(part.after)} AS bigint), {part.weight}, "
            f"CAST(%s AS {array}))"
            for part in rows
        )
        where = kind.format("= ANY (asked.keys)")
        count = _counted(where, "asked.channel", "asked.after", upto, limit)
        asked = f"(VALUES {values}) asked (channel, after, weight, keys)"
        branches.append(f"SELECT asked.weight, {count} FROM {asked}")
        params.append([_prepared(part) for part in rows])
    return log_dialect().union_all(branches, params)


def _counted(where: str, channel: str, after: str, upto: int, limit: int) -> str:
    table = log_dialect().log
    return (
        f"(SELECT COUNT(*) FROM (SELECT 1 AS one FROM {table} WHERE channel_id = {channel} AND "
        f"{where} AND position > {after} AND position <= {int(upto)} LIMIT {limit}) counted)"
    )


def _prepared(part: Group) -> list[Any]:
    return [log_dialect().key(COLUMNS[part.kind], key) for key in part.keys]
