"""Segments that wait to be delivered: those that follow each other are taken together."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from eric_sse_django.log import ChannelSegment, Known, Segment, is_next

Waiting: TypeAlias = "deque[Segment | ChannelSegment]"


def take_joined(waiting: Waiting, known: Known, max_entries: int, max_bytes: int) -> list[Segment]:
    """Remove the first segment, with those that continue it if it is next; return all."""
    first = waiting.popleft()
    assert isinstance(first, Segment)
    found = [first]
    if first.entries is None or not is_next(first, known):
        return found
    count, size = len(first.entries), sum(entry.size for entry in first.entries)
    while waiting and isinstance(more := waiting[0], Segment) and more.entries is not None:
        count += len(more.entries)
        size += sum(entry.size for entry in more.entries)
        fits = count <= max_entries and size <= max_bytes
        if not (fits and is_next(more, found[-1].known)):
            break
        found.append(more)
        waiting.popleft()
    return found


def joined(segments: list[Segment]) -> Segment:
    """Return one segment of several that continue each other."""
    channels = frozenset(channel for segment in segments for channel in segment.channels)
    entries = [entry for segment in segments for entry in segment.entries or ()]
    return Segment(segments[0].before, segments[-1].known, channels, entries)


def take_of_channels(waiting: Waiting, max_entries: int, max_bytes: int) -> list[ChannelSegment]:
    """Remove the first channel segments, one at least; return those."""
    found: list[ChannelSegment] = []
    count = size = 0
    while waiting and isinstance(first := waiting[0], ChannelSegment):
        count += len(first.entries or ())
        size += sum(entry.size for entry in first.entries or ())
        if found and (count > max_entries or size > max_bytes):
            break
        found.append(first)
        waiting.popleft()
    return found
