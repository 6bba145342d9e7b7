"""System checks: the settings of webhooks, and the database of their tables."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.db import router

from eric_sse_django.conf import database
from eric_sse_django.contrib.webhooks import conf
from eric_sse_django.contrib.webhooks.models import Endpoint


@register()
def check_webhooks(**_: Any) -> list[CheckMessage]:
    """Unknown names and bad values in ERIC_SSE_WEBHOOKS; tables in another database."""
    names = ", ".join(conf.DEFAULTS)
    found: list[CheckMessage] = [
        Error(problem, hint=f"Settings: {names}.", id="eric_sse_webhooks.E001")
        for problem in conf.problems()
    ]
    used = router.db_for_write(Endpoint)
    if used != database():
        found.append(
            Error(
                f"The tables of webhooks are in {used!r}, and those of listeners in "
                f"{database()!r}.",
                hint="Let the project's router return the same database for both apps.",
                id="eric_sse_webhooks.E002",
            )
        )
    return found
