"""The channels of the pages, and the rows that they begin with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from demo_project.pages.models import Line, Order
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import Listener

# Messages of these channels are short: the rows are in tables.
SHORT_S = 3_600
VISITOR_MAX_AGE = timedelta(days=1)
CHANNELS: dict[str, dict[str, Any]] = {
    "chat": {"retention_s": SHORT_S},
    "room": {"retention_s": SHORT_S},
    "orders": {"retention_s": SHORT_S, "format": "text"},
    "notices": {"retention_s": 86_400},
    "toasts": {"retention_s": SHORT_S},
}
ITEMS = ("Blue kettle", "Desk lamp", "Oak shelf")


def create() -> None:
    """Create missing channels and first rows, and remove listeners of old visitors."""
    for name, options in CHANNELS.items():
        channel = DatabaseChannel.get_or_create(name, **options)
        old = timezone.now() - VISITOR_MAX_AGE
        for row in Listener.objects.filter(channel__name=name, created_at__lt=old):
            if row.last_seen is None or row.last_seen < old:
                channel.remove_listener(row.name)
    if not Order.objects.exists():
        Order.objects.bulk_create(
            Order(item=item, total=10 * n) for n, item in enumerate(ITEMS, 2)
        )
    if not Line.objects.exists():
        Line.objects.create(author="ada", text="Open this page in a second window, and answer.")
