"""One job: taken and done in one transaction."""

from __future__ import annotations

import time
from typing import Any

from django.db import DatabaseError, connections, transaction

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import NoMessagesException, RepositoryError
from eric_sse_django.shortcuts import publish
from tests.faults.reporting import report_line
from tests.faults.writing import CHANNEL, JOBS

QUEUE = "workers"
# Seconds between two attempts while the database is unavailable.
PAUSE_S = 0.1


def work() -> None:
    """Do the next job. Raises NoMessagesException when there is none."""
    is_reported = False
    try:
        with transaction.atomic():
            job: Any = DatabaseChannel.load(JOBS).deliver_next(QUEUE)
            done = f"done:{job.payload['key']}"
            is_reported = True
            report_line("try", keys=[done])
            publish(CHANNEL, "done", {"key": done})
    except NoMessagesException:
        raise
    except (DatabaseError, RepositoryError) as error:
        if is_reported:
            report_line("error", error=f"{type(error).__name__}: {error}")
        connections.close_all()
        time.sleep(PAUSE_S)
        return
    report_line("ok")
