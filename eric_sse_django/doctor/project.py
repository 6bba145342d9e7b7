"""The settings: this app's system checks, also those for deployment, and what they do not see."""

from __future__ import annotations

from collections.abc import Iterator

from django.core import checks

from eric_sse_django import conf
from eric_sse_django.doctor.finding import Finding, error, good, note, warning

# Seconds of silence after which proxies and load balancers end a connection by default.
PROXY_SILENCE_S = 60.0
APP = "eric_sse_django."


def examine() -> Iterator[Finding]:
    found = [*_checked(), *_heartbeat()]
    yield from found or [good("settings.checked", "The system checks find nothing.")]


def _checked() -> Iterator[Finding]:
    # Those that query a database are the database's: see databases. Without an empty list Django
    # 6.1 lets the checks of models ask each database of the project, which may be unavailable.
    messages = checks.run_checks(include_deployment_checks=True, databases=[])
    for message in messages:
        if not str(message.id).startswith(APP) or message.is_silenced():
            continue
        make = warning if message.level >= checks.WARNING else note
        make = error if message.level >= checks.ERROR else make
        id = f"settings.{str(message.id).removeprefix(APP)}"
        yield make(id, str(message.msg), str(message.hint or ""))


def _heartbeat() -> Iterator[Finding]:
    heartbeat_s = conf.get("HEARTBEAT_S")
    if heartbeat_s >= PROXY_SILENCE_S:
        yield warning(
            "settings.heartbeat",
            f"HEARTBEAT_S is {heartbeat_s:g}: most proxies end a connection that is silent for "
            f"{PROXY_SILENCE_S:g} s.",
            "Set ERIC_SSE['HEARTBEAT_S'] to 15.",
        )


def database_messages() -> Iterator[Finding]:
    """Yield what the checks find that query the database."""
    alias = conf.database()
    for message in checks.run_checks(tags=[checks.Tags.database], databases=[alias]):
        if str(message.id).startswith(APP) and not message.is_silenced():
            id = f"database.{str(message.id).removeprefix(APP)}"
            yield warning(id, str(message.msg), str(message.hint or ""))
