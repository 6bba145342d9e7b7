"""The replica that backlogs are read from: it answers, follows, and is a copy of the log."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db import Error as DatabaseError
from django.db import connections

from eric_sse_django import conf, log
from eric_sse_django.doctor.finding import Finding, good, warning
from eric_sse_django.log.history import is_as_known, see

# Seconds in which it must have what the log has now.
FOLLOWS_IN_S = 5.0

UNTIL_THEN = "backlogs are read from the log's database"


def examine() -> Iterator[Finding]:
    alias = conf.get("REPLICA")
    if alias is None or alias not in connections:  # a system check reports that
        return
    try:
        yield _look(alias)
    except DatabaseError as failed:
        yield warning(
            "replica.unreachable",
            f"The replica {alias!r} cannot be read ({str(failed).strip()}): {UNTIL_THEN}.",
            f"Start it, and check DATABASES[{alias!r}] and the network.",
        )


def _look(alias: str) -> Finding:
    known, deadline = log.DATABASE.follow(), time.monotonic() + FOLLOWS_IN_S
    while True:
        seen = see(alias)
        head = log.Known(0) if seen is None else seen.head
        if not is_as_known(head):
            return warning(
                "replica.another",
                f"The replica {alias!r} has a message that the log does not have: {UNTIL_THEN}.",
                "Was it promoted? Name one that follows the log's database in "
                "ERIC_SSE['REPLICA'], or None.",
            )
        if head.position >= known.position:
            return good("replica.follows", f"The replica {alias!r} has what the log has.")
        if time.monotonic() >= deadline:
            behind = known.position - head.position
            return warning(
                "replica.late",
                f"The replica {alias!r} is {behind} messages behind after {FOLLOWS_IN_S:g} s: "
                f"what it does not have is read from the log's database.",
                "Look at its replication: is it stopped, or slower than the log grows?",
            )
        time.sleep(0.1)
