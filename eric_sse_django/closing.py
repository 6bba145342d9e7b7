"""Ending the threads of this process: of a worker that ends, before a test database is removed."""

from __future__ import annotations

import sys

from eric_sse_django import log, notifier
from eric_sse_django.authorization import revocation
from eric_sse_django.database import orphans
from eric_sse_django.hub import abandon_all


def close_all() -> None:
    """
    Stop this process's notifier and hubs, and close their connections.

    Call it before a test database is removed: PostgreSQL does not remove it while a connection
    is open. In a coroutine, `await Hub.close_all()` first.
    """
    runs = sys.modules.get("eric_sse_django.runs.writer")  # an app that may not be installed
    if runs is not None:
        runs.close()
    revocation.retries.close()
    orphans.retries.close()
    notifier.close()
    abandon_all()
    log.forget_counts()
