"""How much waits for many listeners together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections

from eric_sse_django.log.ranges import NO_CONTROLS, log_table
from eric_sse_django.log.union import MOST_BRANCHES, union_all
from eric_sse_django.models import QueuedMessage, database

# How a message is addressed, and the column of the keys that stand for {}.
TO_ALL = "listener_id IS NULL AND owner_id IS NULL"
TO_ONE = f"listener_id {{}} AND owner_id IS NULL AND type NOT IN ({NO_CONTROLS})"
TO_OWNER = "listener_id IS NULL AND owner_id {}"
# Rows counted at most: where many stand apart, each is counted less far.
MOST_COUNTED = 40_000
COLUMNS = {TO_ALL: "listener", TO_ONE: "listener", TO_OWNER: "owner"}


@dataclass(frozen=True)
class Place:
    """A listener, by keys, and how far it has been served."""

    listener: int
    channel: int
    owner: Any
    cursor: int


@dataclass(frozen=True)
class Part:
    """What is addressed in one way to listeners who stand at one cursor of a channel."""

    kind: str
    channel: int
    after: int
    keys: Sequence[Any] = ()
    weight: int = 1  # of how many of them each of its messages is in the queue


def backlog(places: Iterable[Place], upto: int, most: int) -> tuple[int, bool]:
    """
    Return the sum of the listeners' queues in (cursor, upto], and whether there is more.

    Counted to `most` at the furthest. One query, none where all have been served: those of
    one channel who stand at one cursor are counted together, and what is too much for a
    statement is left out.
    """
    parts = list(_parts(place for place in places if place.cursor < upto))
    some = parts[:MOST_BRANCHES]
    ask = _joined if connections[database()].vendor == "postgresql" else _united
    limit = min(most, MOST_COUNTED // (len(some) or 1)) + 1
    counts = ask(some, upto, limit)
    total = sum(weight * count for weight, count in counts)
    more = any(count == limit for _, count in counts) or len(some) < len(parts)
    return min(total, most), more or total > most


def _parts(places: Iterable[Place]) -> Iterator[Part]:
    groups: dict[tuple[int, int], set[Place]] = defaultdict(set)
    for place in places:
        groups[place.channel, place.cursor].add(place)
    for at, group in groups.items():
        yield Part(TO_ALL, *at, weight=len(group))
        yield Part(TO_ONE, *at, [place.listener for place in group])
        owners: dict[int, list[Any]] = defaultdict(list)
        for owner, listeners in Counter(p.owner for p in group if p.owner is not None).items():
            owners[listeners].append(owner)
        for listeners, keys in owners.items():
            yield Part(TO_OWNER, *at, keys, weight=listeners)


def _united(parts: Sequence[Part], upto: int, limit: int) -> list[Any]:
    """Return (weight, count) of each part, asked for in a SELECT of its own."""
    branches, params = [], []
    for part in parts:
        marks = f"IN ({', '.join(['%s'] * len(part.keys))})"
        numbers = str(int(part.channel)), str(int(part.after))
        count = _counted(part.kind.format(marks), *numbers, upto, limit)
        branches.append(f"SELECT {part.weight}, {count}")
        params.append(_prepared(part))
    return union_all(branches, params)


def _joined(parts: Sequence[Part], upto: int, limit: int) -> list[Any]:
    """Return the same, asked for kind by kind; for the reason see depth._joined()."""
    branches, params = [], []
    for kind, column in COLUMNS.items():
        rows = [part for part in parts if part.kind == kind]
        if not rows:
            continue
        array = f"{_field(column).db_type(connections[database()])}[]"
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
    return union_all(branches, params)


def _counted(where: str, channel: str, after: str, upto: int, limit: int) -> str:
    return (
        f"(SELECT COUNT(*) FROM (SELECT 1 AS one FROM {log_table()} WHERE channel_id = {channel} "
        f"AND {where} AND position > {after} AND position <= {int(upto)} LIMIT {limit}) counted)"
    )


def _prepared(part: Part) -> list[Any]:
    prepare = _field(COLUMNS[part.kind]).get_db_prep_value
    return [prepare(key, connections[database()]) for key in part.keys]


def _field(column: str) -> Any:
    return QueuedMessage._meta.get_field(column)
