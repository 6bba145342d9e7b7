"""
django-debug-toolbar: a panel with what a request has published, to which channels and how.

    DEBUG_TOOLBAR_PANELS = [..., "eric_sse_django.contrib.debug_toolbar.PublishedPanel"]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from debug_toolbar.panels import Panel
from django.db import connections
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from eric_sse_django import conf, instruments
from eric_sse_django.contrib.naming import names_of
from eric_sse_django.instruments import Publication

# Characters of a payload, and messages of a request, that are shown.
MAX_SHOWN_CHARACTERS = 500
MAX_SHOWN_MESSAGES = 200

Rows = list[dict[str, Any]]

# What the running request has published; None while the panel is off.
_published: ContextVar[Rows | None] = ContextVar("eric_sse_published", default=None)


class PublishedPanel(Panel):
    """What this request has published, in its own threads and coroutines too."""

    title = _("Server-Sent Events")
    template = "eric_sse_django/contrib/debug_toolbar.html"
    is_async = True

    @classmethod
    def ready(cls) -> None:
        """Connect, once for the process."""
        if _record not in instruments.makers:
            instruments.around_publishing(_record)

    @property
    def nav_subtitle(self) -> str:
        stats: dict[str, Any] = self.get_stats()
        count = stats.get("count", 0)
        return ngettext("%(count)d message", "%(count)d messages", count) % {"count": count}

    def enable_instrumentation(self) -> None:
        """Begin to record, in the context of the request."""
        self._rows: Rows = []
        self._token = _published.set(self._rows)

    def disable_instrumentation(self) -> None:
        """Stop to record."""
        _published.set(None)

    def generate_stats(self, request: Any, response: Any) -> None:
        """Keep what was recorded."""
        rows = self._rows
        messages = [message for row in rows for message in row["messages"]]
        self.record_stats(
            {
                "count": sum(row["count"] for row in rows),
                "channels": sorted({message["channel"] for message in messages}),
                "calls": rows,
                "queries": sum(len(row["queries"]) for row in rows),
                "duration_ms": round(sum(row["duration_ms"] for row in rows), 2),
            }
        )


@contextmanager
def _record(publication: Publication) -> Iterator[None]:
    """Record a publication with its queries, if the panel is on."""
    rows = _published.get()
    if rows is None:
        yield
        return
    shown = publication.messages[:MAX_SHOWN_MESSAGES]
    names = names_of(publication)
    connection = connections[conf.database()]
    row: dict[str, Any] = {
        "count": len(publication.messages),
        "messages": [_shown(each, names, publication.listener_id) for each in shown],
        "queries": [],
        "in_transaction": connection.in_atomic_block,
        "failed": True,
    }
    rows.append(row)
    began = time.perf_counter()
    try:
        with connection.execute_wrapper(_keep(row["queries"])):
            yield
        row["failed"] = False
    finally:
        row["duration_ms"] = _ms_since(began)


def _keep(queries: list[dict[str, Any]]) -> Callable[..., Any]:
    def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return run(sql, params, many, context)
        finally:
            # Without the parameters, of which one is the payload.
            queries.append({"sql": " ".join(sql.split()), "duration_ms": _ms_since(began)})

    return execute


def _shown(message: Any, names: dict[int, str], listener_id: str | None) -> dict[str, Any]:
    address = {
        "all": listener_id is None and message.listener is None and message.owner is None,
        "listener": str(listener_id or message.listener or ""),
        "owner": "" if message.owner is None else str(message.owner),
    }
    payload = message.payload
    cut = payload[:MAX_SHOWN_CHARACTERS] + "…" if len(payload) > MAX_SHOWN_CHARACTERS else payload
    return {
        "channel": names[message.channel],
        "type": message.type,
        "payload": cut,
        "bytes": len(payload),
        **address,
    }


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1_000, 3)
