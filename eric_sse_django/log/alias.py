"""Which database holds the log."""

from __future__ import annotations

from django.db import router

from eric_sse_django.models import QueuedMessage


def database() -> str:
    """Return the alias of the database that holds the log (by the project's routers)."""
    return router.db_for_write(QueuedMessage)
