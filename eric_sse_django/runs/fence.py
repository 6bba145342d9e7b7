"""
Writing the output of runs: one transaction for all runs of a flush.

A run's row is the fence: only the producer of its epoch writes, and only what follows the index
that the row has. So a worker that was replaced writes nothing, and a flush whose commit was not
acknowledged can be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import DataError, IntegrityError, OperationalError, connections, transaction

from eric_sse_django import conf, notifier
from eric_sse_django.log import (
    Dialect,
    Draft,
    Segment,
    append_placed,
    array_text,
    connected,
    dialect_of,
    insertion_of,
    log_dialect,
    segments_of,
)
from eric_sse_django.runs import storable
from eric_sse_django.runs.models import Run

logger = logging.getLogger(__name__)

# Runs in one UPDATE, which compares each with all of them.
MOVED_AT_ONCE = 100

# What an end changes, if it has a message.
END_COLUMNS = frozenset({"status", "ended_at", "error", "result"})
# What a database, or its driver, raises for values that it cannot hold.
REFUSALS = (DataError, IntegrityError, TypeError, ValueError)

RUNNING = Run.Status.RUNNING.value
LOST = Run.Status.LOST.value


@dataclass(slots=True)
class Flush:
    """What a producer writes to its run at once: chunks from `first` on, up to `next`."""

    run: int
    epoch: int
    first: int
    next: int
    drafts: list[Draft] = field(default_factory=list)
    # JSON texts of columns, None where they do not change.
    progress: str | None = None
    upstream: str | None = None
    # Other columns: those of an end.
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def is_usual(self) -> bool:
        """Whether its other columns, if it has some, are those of an end with a message."""
        return not self.values or END_COLUMNS.issuperset(self.values)

    def row(self, number: int) -> tuple[Any, ...]:
        """Return what the one statement is given of it: see _all_in_one()."""
        row = self.run, self.epoch, self.first, self.next, number, self.progress, self.upstream
        if not self.values:
            return (*row, None, None, None, None)
        result = self.values.get("result")
        return (
            *(*row, self.values["status"], self.values["ended_at"], self.values.get("error")),
            None if result is None else storable.encode(result),
        )

    @property
    def status(self) -> str:
        """The run's status afterwards."""
        return str(self.values.get("status", RUNNING))


class Verdict(Enum):
    """What became of a flush."""

    NOW = "written now"
    BEFORE = "written before, and its commit not acknowledged"
    LATER = "not written: another transaction has locked the run"
    TAKEN = "not written: another producer has the run"
    ENDED = "not written: the run has ended"
    REMOVED = "not written: the run was removed"
    REFUSED = "not written: the database cannot hold its values"

    @property
    def is_written(self) -> bool:
        return self in (Verdict.NOW, Verdict.BEFORE)


class Answer(NamedTuple):
    """What became of a flush; the run's status, and whether it is asked to stop."""

    verdict: Verdict
    status: str = RUNNING
    stops: bool = False
    # Why it is refused.
    error: Exception | None = None


class State(NamedTuple):
    """The columns of a run that decide about a flush."""

    run: int
    epoch: int
    status: str
    next_index: int
    stops: bool


STATE_COLUMNS = len(State._fields)


def write(flushes: Sequence[Flush]) -> list[Answer]:
    """
    Write the flushes of several runs in one transaction; return what became of each.

    Waits for no lock on a run: the transaction of a slow request may have asked it to stop.
    """
    dialect = connected()
    is_usual = all(each.is_usual for each in flushes) and any(each.drafts for each in flushes)
    if dialect.writes_in_with and is_usual and not dialect.is_in_transaction():
        states = _write_at_once(dialect, flushes)
        answers = [judge(each, states.get(each.run)) for each in flushes]
        found = [each for each, answer in zip(flushes, answers, strict=True) if _is_back(answer)]
        if found:  # their status is another one afterwards
            again = iter(_write(dialect, found, states))
            answers = [next(again) if _is_back(answer) else answer for answer in answers]
    else:
        states = {}
        answers = _write(dialect, flushes, states)
    return _with_removed(flushes, answers, states)


def write_apart(flushes: Sequence[Flush]) -> list[Answer]:
    """
    As write(), each flush in a separate transaction: one of them was refused.

    Else it would be repeated forever, and with it those of all other runs of the process.
    """
    return [_write_alone(each) for each in flushes]


def _write_alone(flush: Flush) -> Answer:
    try:
        return write([flush])[0]
    except REFUSALS as error:
        logger.exception("the output of a run is refused run=%s", flush.run)
        return Answer(Verdict.REFUSED, error=error)


def _write(dialect: Dialect, flushes: Sequence[Flush], states: dict[int, State]) -> list[Answer]:
    """Write flushes by several statements; add the states that the runs had."""
    is_own = not dialect.is_in_transaction()
    with transaction.atomic(using=dialect.connection.alias):
        states |= locked(dialect, [each.run for each in flushes])
        answers = [judge(each, states.get(each.run)) for each in flushes]
        accepted = []
        for each, answer in zip(flushes, answers, strict=True):
            if answer.verdict is Verdict.NOW:
                accepted.append(each)
            if _is_back(answer):
                each.values = {"status": RUNNING, "ended_at": None, "error": ""} | each.values
        if accepted:
            _move(dialect, accepted)
        drafts = [draft for each in accepted for draft in each.drafts]
        segments = _append(dialect, drafts, is_own) if drafts else None
    if segments is not None:
        notifier.current().pass_all_on(segments)
    return answers


def _append(dialect: Dialect, drafts: Sequence[Draft], is_own: bool) -> list[Segment] | None:
    """Append messages in a transaction; return their segments, None if they have no positions."""
    if not (is_own and dialect.is_file and dialect.places):
        notifier.publish(drafts)
        return None
    # The transaction is the only one that writes: a second one for the positions is saved.
    segments = append_placed(dialect, drafts)
    if segments is None:
        notifier.ring_on_commit()
    return segments


def _is_back(answer: Answer) -> bool:
    """Return whether the flush is of a run that was lost, and that nobody has taken since."""
    return answer.verdict is Verdict.NOW and answer.status == LOST


def _with_removed(
    flushes: Sequence[Flush], answers: list[Answer], states: dict[int, State]
) -> list[Answer]:
    """Return the answers with those runs that do not exist any more. No query, mostly."""
    missing = {each.run for each in flushes} - states.keys()
    if missing:
        missing -= set(Run.objects.filter(pk__in=missing).values_list("pk", flat=True))
    if not missing:
        return answers
    return [
        Answer(Verdict.REMOVED) if each.run in missing else answer
        for each, answer in zip(flushes, answers, strict=True)
    ]


def _write_at_once(dialect: Dialect, flushes: Sequence[Flush]) -> dict[int, State]:
    """
    Write flushes by one statement, those of running runs; return the states they had.

    The messages get their positions there, if the head is free: one commit instead of two.
    """
    notifier.prepare()
    try:
        states, segments = _write_placed(dialect, flushes, True)
    except OperationalError as error:
        # At an isolation level above READ COMMITTED, which is not Django's.
        if not dialect.is_serialization_failure(error):
            raise
        states, segments = _write_placed(dialect, flushes, False)
    if segments is None:
        notifier.ring_on_commit()
    else:
        notifier.current().pass_all_on(segments)
    return states


def _write_placed(
    dialect: Dialect, flushes: Sequence[Flush], places: bool
) -> tuple[dict[int, State], list[Segment] | None]:
    """Write flushes; return also the segments of the messages, None if they have no positions."""
    drafts, numbers = [], []
    for number, each in enumerate(flushes):
        drafts += each.drafts
        numbers += [number] * len(each.drafts)
    where = "m.number IN (SELECT moved.number FROM moved)"
    insertion = insertion_of(dialect, drafts, numbers, where, places)
    rows = [each.row(number) for number, each in enumerate(flushes)]
    with dialect.writer() as cursor:
        cursor.execute(
            _all_in_one(dialect.connection.alias, insertion.parts),
            [*map(array_text, zip(*rows, strict=True)), _lease_ms(), *insertion.values],
        )
        found = cursor.fetchall()
    states = {row[0]: State(*row[:STATE_COLUMNS]) for row in found}
    placed = found[0][STATE_COLUMNS:] if found else (None,)
    if placed[0] is None:
        return states, None
    written = [each for each in flushes if _is_moved(each, states.get(each.run))]
    accepted = drafts
    if len(written) != len(flushes):
        accepted = [draft for each in written for draft in each.drafts]
    return states, segments_of(dialect, placed, accepted, insertion.at)


def _is_moved(flush: Flush, state: State | None) -> bool:
    """Return whether the statement has written a flush, as `moved` has it there."""
    found = (flush.epoch, RUNNING, flush.first)
    return state is not None and found == (state.epoch, state.status, state.next_index)


def judge(flush: Flush, state: State | None) -> Answer:
    """Return whether a flush may be written to a run in this state; None: it is not locked."""
    if state is None:
        return Answer(Verdict.LATER)
    status, stops = state.status, bool(state.stops)
    if state.epoch != flush.epoch:
        return Answer(Verdict.TAKEN, status)
    if status == LOST and state.next_index == flush.first:
        return Answer(Verdict.NOW, status, stops)  # nobody has taken it meanwhile
    if status != RUNNING:
        was_written = (status, state.next_index) == (flush.status, flush.next)
        return Answer(Verdict.BEFORE if was_written else Verdict.ENDED, status, stops)
    if state.next_index == flush.first:
        return Answer(Verdict.NOW, status, stops)
    # Only this producer has this epoch.
    was_written = state.next_index == flush.next
    return Answer(Verdict.BEFORE if was_written else Verdict.TAKEN, status, stops)


def look(runs: Sequence[int]) -> dict[int, State]:
    """Return the states of runs, without a lock. One query."""
    return _states(log_dialect(), runs, "")


def locked(dialect: Dialect, runs: Sequence[int]) -> dict[int, State]:
    """Lock the runs that nobody else has locked, and return their states."""
    lock = dialect.for_update
    if lock and dialect.skips_locked:
        lock += " SKIP LOCKED"
    return _states(dialect, runs, lock)


def _states(dialect: Dialect, runs: Sequence[int], lock: str) -> dict[int, State]:
    keys = ",".join(map(str, map(int, runs)))
    with dialect.connection.cursor() as cursor:
        cursor.execute(_select(dialect.connection.alias).format(keys=keys, lock=lock))
        return {row[0]: State(*row) for row in cursor.fetchall()}


def _move(dialect: Dialect, flushes: Sequence[Flush]) -> None:
    """Move runs, which are locked, to their next index, and renew their leases."""
    using, lease_ms = dialect.connection.alias, _lease_ms()
    with dialect.connection.cursor() as cursor:
        if dialect.is_file:
            rows = [
                (lease_ms, each.next, each.progress, each.upstream, each.run) for each in flushes
            ]
            cursor.executemany(_update(using), rows)
        else:
            for first in range(0, len(flushes), MOVED_AT_ONCE):
                sql, values = _update_many(dialect, flushes[first : first + MOVED_AT_ONCE])
                cursor.execute(sql, [lease_ms, *values])
    for each in flushes:
        if each.values:
            Run.objects.filter(pk=each.run).update(**each.values)


def _lease_ms() -> int:
    return int(conf.get("RUNS_LEASE_S") * 1_000)


# Statements -------------------------------------------------------------------------


def table_of(dialect: Dialect) -> str:
    """Return the table of runs, quoted."""
    return str(dialect.connection.ops.quote_name(Run._meta.db_table))


@lru_cache
def _select(using: str) -> str:
    return (
        "SELECT listener_id, epoch, status, next_index, stop_requested "
        f"FROM {table_of(dialect_of(connections[using]))} WHERE listener_id IN ({{keys}}) {{lock}}"
    )


@lru_cache
def _update(using: str) -> str:
    dialect = dialect_of(connections[using])
    return (
        f"UPDATE {table_of(dialect)} SET lease_until = {dialect.clock_ms} + %s, next_index = %s, "
        "progress = COALESCE(%s, progress), upstream = COALESCE(%s, upstream) "
        "WHERE listener_id = %s"
    )


def _update_many(dialect: Dialect, flushes: Sequence[Flush]) -> tuple[str, list[str]]:
    """Return one statement for several runs: a call for each took 100 ms for 200."""
    index = " ".join(f"WHEN {int(each.run)} THEN {int(each.next)}" for each in flushes)
    changes, values = [f"next_index = CASE listener_id {index} END"], []
    for column in ("progress", "upstream"):
        texts = [(each.run, text) for each in flushes if (text := getattr(each, column))]
        if texts:
            cases = " ".join(f"WHEN {int(run)} THEN {dialect.json_value}" for run, _ in texts)
            changes.append(f"{column} = CASE listener_id {cases} ELSE {column} END")
            values += [text for _, text in texts]
    keys = ", ".join(str(int(each.run)) for each in flushes)
    return (
        f"UPDATE {table_of(dialect)} SET lease_until = {dialect.clock_ms} + %s, "
        f"{', '.join(changes)} WHERE listener_id IN ({keys})"
    ), values


@lru_cache(maxsize=4)
def _all_in_one(using: str, parts: str) -> str:
    """
    Return one statement that locks the runs, moves them, and inserts their messages.

    As inserting's: what it updates is what it has locked, skipping what others have locked.
    """
    dialect = dialect_of(connections[using])
    table = table_of(dialect)
    return f"""
        WITH given AS (
            SELECT * FROM UNNEST((%s)::bigint[], (%s)::bigint[], (%s)::bigint[], (%s)::bigint[],
                (%s)::bigint[], (%s)::jsonb[], (%s)::jsonb[], (%s)::text[], (%s)::timestamptz[],
                (%s)::text[], (%s)::jsonb[])
                AS given (run, epoch, first, next, number, progress, upstream,
                    status, ended_at, error, result)
        ),
        free AS (
            SELECT listener_id, epoch, status, next_index, stop_requested FROM {table}
            WHERE listener_id IN (SELECT run FROM given) {dialect.for_update} SKIP LOCKED
        ),
        moved AS (
            UPDATE {table} AS run
            SET next_index = given.next, lease_until = {dialect.clock_ms} + %s,
                progress = COALESCE(given.progress, run.progress),
                upstream = COALESCE(given.upstream, run.upstream),
                status = COALESCE(given.status, run.status),
                ended_at = COALESCE(given.ended_at, run.ended_at),
                error = COALESCE(given.error, run.error),
                result = COALESCE(given.result, run.result)
            FROM given JOIN free ON free.listener_id = given.run
            WHERE run.listener_id = given.run AND free.epoch = given.epoch
                AND free.status = '{RUNNING}' AND free.next_index = given.first
            RETURNING given.number
        ),
        {parts}
        SELECT free.*, placed.* FROM free
        LEFT JOIN placed ON free.listener_id = (SELECT MAX(listener_id) FROM free)
        ORDER BY free.listener_id DESC
    """
