"""Queries of the log that only the admin, the monitor and the metrics ask."""

from eric_sse_django.reports.messages import (
    ESCAPED_LENGTH,
    DeliveredCount,
    Glance,
    around,
    count_delivered,
    count_delivered_page,
    latest,
    readable,
    stored,
)
from eric_sse_django.reports.queues import Depth, ListenerCursor, backlog, depths, lagging
from eric_sse_django.reports.traffic import (
    Traffic,
    count_listeners,
    count_messages,
    flow,
    recent_traffic,
)

__all__ = [
    "ESCAPED_LENGTH",
    "DeliveredCount",
    "Depth",
    "Glance",
    "ListenerCursor",
    "Traffic",
    "around",
    "backlog",
    "count_delivered",
    "count_delivered_page",
    "count_listeners",
    "count_messages",
    "depths",
    "flow",
    "lagging",
    "latest",
    "readable",
    "recent_traffic",
    "stored",
]
