"""The hub, one per event loop: reads the end of the log once, and delivers to all streams."""

from eric_sse_django.counters import Counters, totals
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.feed import Batch, Feed, ReadLimit
from eric_sse_django.hub.hooks import Apart
from eric_sse_django.hub.hub import Hub, abandon_all, all_hubs, running_hubs
from eric_sse_django.hub.revocations import keys_of

__all__ = [
    "Apart",
    "Batch",
    "Counters",
    "End",
    "Feed",
    "Hub",
    "ReadLimit",
    "abandon_all",
    "all_hubs",
    "keys_of",
    "running_hubs",
    "totals",
]
