"""Streams over HTTP: consumers of Django Channels."""

from eric_sse_django.consumers.base import EventConsumer
from eric_sse_django.consumers.request import Ids, Refused
from eric_sse_django.consumers.stream import StreamConsumer

__all__ = ["EventConsumer", "Ids", "Refused", "StreamConsumer"]
