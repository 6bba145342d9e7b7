"""HTTP to streaming: consumers of Django Channels."""

from eric_sse_django.consumers.base import EventConsumer
from eric_sse_django.consumers.refused import Refused
from eric_sse_django.consumers.request import Ids
from eric_sse_django.consumers.stream import StreamConsumer

__all__ = ["EventConsumer", "Ids", "Refused", "StreamConsumer"]
