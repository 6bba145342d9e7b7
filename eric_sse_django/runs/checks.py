"""System checks of runs."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.db import router

from eric_sse_django.log import database
from eric_sse_django.runs.models import Run


@register()
def check_database(**_: Any) -> list[CheckMessage]:
    """A database of the log in which routers do not create the table of runs."""
    alias = database()
    if router.allow_migrate_model(alias, Run):
        return []
    return [
        Error(
            f"The table of runs is not migrated in {alias!r}, where the log is.",
            hint="Let the router treat the app label 'eric_sse_runs' as 'eric_sse_django'.",
            id="eric_sse_runs.E001",
        )
    ]
