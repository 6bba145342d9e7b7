"""The hub, one per event loop: reads the log's tail once, and hands entries to streams."""

from eric_sse_django.hub.counters import Counters, totals
from eric_sse_django.hub.feed import Batch
from eric_sse_django.hub.hub import Hub, abandon_all, all_hubs
from eric_sse_django.hub.read_limit import ReadLimit

__all__ = ["Batch", "Counters", "Hub", "ReadLimit", "abandon_all", "all_hubs", "totals"]
