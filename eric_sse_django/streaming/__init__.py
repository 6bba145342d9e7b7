"""One stream: where it starts, backlog, live, heartbeat, limits, end."""

from eric_sse_django.streaming.response import Response
from eric_sse_django.streaming.stream import Stream
from eric_sse_django.streaming.subscription import Subscription

__all__ = ["Response", "Stream", "Subscription"]
