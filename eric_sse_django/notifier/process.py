"""This process's notifier, and when it is woken: after the caller's transaction."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Sequence
from typing import Any

from django.db import connections

from eric_sse_django import log, wakes
from eric_sse_django.notifier.notifier import EXIT_FLUSH_S, Notifier

# Seconds a transaction waits for the notifier. 2 ms were measured; this is for a busy one.
SETTLE_S = 0.1

_current: Notifier | None = None
_current_lock = threading.Lock()


def current() -> Notifier:
    """Return this process's notifier."""
    global _current
    if _current is None:
        with _current_lock:
            if _current is None:
                _current = Notifier()
    return _current


def started() -> Notifier | None:
    """Return this process's notifier, None if none was needed yet."""
    return _current


def ring() -> None:
    """Sequence the committed messages and wake their streams, soon. Returns at once."""
    (_current or current()).ring()


def publish(drafts: Sequence[log.Draft]) -> None:
    """Append messages in the caller's transaction, and wake their streams when it commits."""
    log.append(drafts)
    ring_on_commit()


def ring_on_commit() -> None:
    """
    Ring when the caller's transaction commits; at once without one. A rollback rings nothing.

    Not in a transaction that Django does not manage (`set_autocommit(False)`), whose end it
    does not see: the polls of the hubs find what was committed.
    """
    dialect = log.log_dialect()
    connection = dialect.connection
    if connection.in_atomic_block:
        is_needed = not _owes(connection)
    else:
        is_needed = connection.get_autocommit()
    if is_needed:
        # In memory another thread has another database, or meets locked tables.
        connection.on_commit(_sequence_here if dialect.is_in_memory else ring, robust=True)


def _sequence_here() -> None:
    """Do the notifier's work on the caller's thread."""
    current().sequence_here()


def _owes(connection: Any) -> bool:
    """Return whether the caller's transaction has published, and rings when it commits."""
    return any(callback in (ring, _sequence_here) for _, callback, *_ in connection.run_on_commit)


def settle() -> None:
    """
    Give positions to what others have committed; waits SETTLE_S at most.

    In a transaction of the caller the notifier gives them: given here, they would lock the head
    until the commit. So what that transaction has published itself has none before its end. (In
    the transaction of a Django TestCase, which never ends, it is given one here.)
    """
    if not log.pending().exists():
        return
    connection = connections[log.database()]
    if connection.get_autocommit() or _may_sequence_within(connection):
        sequenced = 0
        while count := log.sequence():
            sequenced += count
        if sequenced:
            connection.on_commit(current().wake, robust=True)
    elif not (_keeps_others_out(connection) and _owes(connection)):
        ring()
        flush(SETTLE_S)


def _may_sequence_within(connection: Any) -> bool:
    """Return whether the caller's transaction may give positions: where nothing waits for it."""
    if not connection.in_atomic_block:
        return False
    if any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        return True
    # A transaction of SQLite is the only one that writes. Its own messages get theirs at its
    # commit, so that a project sees the same there as on other databases.
    return _keeps_others_out(connection) and not _owes(connection)


def _keeps_others_out(connection: Any) -> bool:
    """Return whether the caller's transaction keeps the notifier from writing, as on SQLite."""
    is_alone: bool = not connection.features.has_select_for_update
    return is_alone and connection.in_atomic_block


def flush(timeout_s: float = EXIT_FLUSH_S) -> bool:
    """Wait until what this process has committed is sequenced; False when it took longer."""
    return _current is None or _current.flush(timeout_s)


def close() -> None:
    """Stop this process's notifier; the next ring starts another."""
    global _current
    with _current_lock:
        closing, _current = _current, None
    if closing is not None:
        closing.close()


def _end() -> None:
    flush()
    wakes.flush()
    close()  # Python 3.13 warns of an SQLite connection that is left open


def _forget_after_fork() -> None:
    # The parent's thread is not in the child, and its locks may be held forever.
    global _current, _current_lock
    _current, _current_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_end)
