"""Queries of the log that only the admin, the monitor and the metrics ask."""

from eric_sse_django.reports.messages import Glance, around, latest
from eric_sse_django.reports.queues import Depth, ListenerCursor, backlog, depths, lagging
from eric_sse_django.reports.traffic import (
    Traffic,
    count_listeners,
    count_messages,
    flow,
    recent_traffic,
)

__all__ = [
    "Depth",
    "Glance",
    "ListenerCursor",
    "Traffic",
    "around",
    "backlog",
    "count_listeners",
    "count_messages",
    "depths",
    "flow",
    "lagging",
    "latest",
    "recent_traffic",
]
