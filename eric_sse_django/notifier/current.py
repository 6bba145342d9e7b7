"""This process's notifier, and what the caller's transaction has to do with it."""

from __future__ import annotations

import atexit
import os
import threading

from django.db import connections, transaction

from eric_sse_django import log, wakes
from eric_sse_django.notifier.notifier import EXIT_FLUSH_S, Notifier

# Seconds a transaction waits for the notifier's. 2 ms were measured; this is for a busy one.
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
    """Return this process's notifier, None where nothing has needed one."""
    return _current


def ring() -> None:
    """Have the committed messages sequenced and their streams woken. Returns at once."""
    current().ring()


def ring_on_commit() -> None:
    """Ring when the caller's transaction commits; at once without one. A rollback wakes nobody."""
    if not owes():
        transaction.on_commit(ring, using=log.database(), robust=True)


def owes() -> bool:
    """Whether the caller's transaction has published, and rings when it commits."""
    waiting = connections[log.database()].run_on_commit
    return any(callback is ring for _, callback, *_ in waiting)


def settle() -> None:
    """
    Give positions to what the caller can see.

    Inside the caller's transaction it does so only for what that has published itself
    (it then holds the log's order until it ends), so that a slow request delays nobody.
    For what others committed it waits, SETTLE_S at most, for the notifier to do it.
    """
    if not log.pending().exists():
        return
    if connections[log.database()].in_atomic_block and not (owes() or _alone()):
        ring()
        flush(SETTLE_S)
        return
    sequenced = 0
    while count := log.sequence():
        sequenced += count
    if sequenced:
        transaction.on_commit(current().wake, using=log.database(), robust=True)


def _alone() -> bool:
    """Whether the caller's transaction keeps the notifier from writing, as on SQLite."""
    return not connections[log.database()].features.has_select_for_update


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
    # The parent's thread is not here, and its locks may be held for ever.
    global _current, _current_lock
    _current, _current_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_end)
