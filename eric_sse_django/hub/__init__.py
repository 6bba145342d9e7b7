"""The hub, one per event loop: reads the log's tail once, and hands entries to streams."""

from eric_sse_django.hub.counters import Counters, totals
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.feed import Batch, Feed
from eric_sse_django.hub.hooks import Apart
from eric_sse_django.hub.hub import Hub, channels_of
from eric_sse_django.hub.hubs import abandon_all, all_hubs, running_hubs
from eric_sse_django.hub.read_limit import ReadLimit
from eric_sse_django.hub.subjects import keys_of

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
    "channels_of",
    "keys_of",
    "running_hubs",
    "totals",
]
