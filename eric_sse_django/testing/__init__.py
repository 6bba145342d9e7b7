"""For the tests of projects that publish or stream: see docs/testing.md."""

from eric_sse_django.closing import close_all
from eric_sse_django.hub import Hub
from eric_sse_django.sse import Event
from eric_sse_django.testing.clock import FakeClock, fake_clock
from eric_sse_django.testing.listeners import amake_listener, make_listener
from eric_sse_django.testing.live import LiveStreamTestCase
from eric_sse_django.testing.published import (
    Captured,
    Published,
    aassert_not_published,
    aassert_published,
    apublished,
    assert_not_published,
    assert_published,
    captured,
    published,
)
from eric_sse_django.testing.stream import NoEvent, StreamClient

__all__ = [
    "Captured",
    "Event",
    "FakeClock",
    "Hub",
    "LiveStreamTestCase",
    "NoEvent",
    "Published",
    "StreamClient",
    "aassert_not_published",
    "aassert_published",
    "amake_listener",
    "apublished",
    "assert_not_published",
    "assert_published",
    "captured",
    "close_all",
    "fake_clock",
    "make_listener",
    "published",
]
