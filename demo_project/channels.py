"""The demo's channels, and the listeners that exist from the start."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, F, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from demo_project.pages import channels as pages
from eric_sse_django.database import DatabaseChannel, DatabaseQueue
from eric_sse_django.models import Listener
from eric_sse_django.shortcuts import listen

VITALS = "vitals"
INBOX = "inbox"
# The chart shows the last 90 s.
VITALS_RETENTION_S = 600
INBOX_RETENTION_S = 86_400
# Older listeners of visitors are removed.
VISITOR_MAX_AGE = timedelta(days=1)
# Listeners shown on the page. Each needs two or three small queries.
MAX_LISTENERS = 50

SLOW_WORKER = "slow-worker"
NIGHT_SHIFT = "night-shift"
PROGRAMS = {
    SLOW_WORKER: "processes one message every 2 s",
    NIGHT_SHIFT: "never connects; its queue grows",
}

_MOODS = (
    "amber",
    "bright",
    "calm",
    "gentle",
    "happy",
    "keen",
    "lucky",
    "mellow",
    "quiet",
    "swift",
)
_ANIMALS = (
    "badger",
    "crane",
    "dolphin",
    "heron",
    "ibis",
    "lynx",
    "marten",
    "otter",
    "puffin",
    "stoat",
)


def create() -> None:
    """Create missing channels and listeners, and remove listeners of old visitors."""
    pages.create()
    DatabaseChannel.get_or_create(VITALS, retention_s=VITALS_RETENTION_S)
    inbox = DatabaseChannel.get_or_create(INBOX, retention_s=INBOX_RETENTION_S)
    for name in PROGRAMS:
        listen(INBOX, listener_id=name)
    for row in _visitors().filter(seen__lt=timezone.now() - VISITOR_MAX_AGE):
        inbox.remove_listener(row.name)


def visitor_name() -> str:
    """Return a readable, random listener id: one of 90,000,000."""
    number = secrets.randbelow(900_000) + 100_000
    return f"{secrets.choice(_MOODS)}-{secrets.choice(_ANIMALS)}-{number}"


def overview() -> list[dict[str, Any]]:
    """Return the inbox's listeners for the page: programs, then visitors, last seen first."""
    programs = list(_rows().filter(name__in=PROGRAMS))
    recent = _visitors().order_by("-seen")[: MAX_LISTENERS - len(programs)]
    online = {listener.id for listener in DatabaseChannel.load(INBOX).online()}
    return [_described(row, row.name in online) for row in [*programs, *recent]]


def _rows() -> QuerySet[Listener]:
    return Listener.objects.filter(channel__name=INBOX).select_related("channel", "owner")


def _visitors() -> Any:
    seen = Coalesce(F("last_seen"), F("created_at"), output_field=DateTimeField())
    return _rows().exclude(name__in=PROGRAMS).annotate(seen=seen)


def _described(row: Listener, online: bool) -> dict[str, Any]:
    return {
        "id": row.name,
        "about": PROGRAMS.get(row.name) or (f"of {row.owner}" if row.owner else "a visitor"),
        "program": row.name in PROGRAMS,
        "waiting": len(DatabaseQueue(row)),
        "online": online,
    }
