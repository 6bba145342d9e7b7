"""One stream: where it starts, backlog, live, heartbeat, limits, end."""

from eric_sse_django.streaming.part import Part
from eric_sse_django.streaming.response import Response
from eric_sse_django.streaming.stream import Stream

__all__ = ["Part", "Response", "Stream"]
