"""The judge of our streams: an event stream reader, by the letter of the standard."""

from eric_sse_django.sse import Event, SSEReader

__all__ = ["Event", "SSEReader"]
