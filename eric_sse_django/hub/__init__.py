"""The hub, one per event loop: reads the end of the log once, and delivers to all streams."""

from eric_sse_django.hub.counters import Counters, totals
from eric_sse_django.hub.encoder import channel_encoder, named_encoder
from eric_sse_django.hub.ends import End
from eric_sse_django.hub.feed import Batch, Feed
from eric_sse_django.hub.follower import ReadLimit
from eric_sse_django.hub.hooks import Apart
from eric_sse_django.hub.hub import Hub
from eric_sse_django.hub.hubs import abandon_all, all_hubs, running_hubs
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
    "channel_encoder",
    "keys_of",
    "named_encoder",
    "running_hubs",
    "totals",
]
