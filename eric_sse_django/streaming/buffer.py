"""What waits to be written to one stream."""

from __future__ import annotations

from eric_sse_django import conf
from eric_sse_django.hub import Batch


class Buffer:
    """Batches, oldest first, within STREAM_BUFFER_MESSAGES and STREAM_BUFFER_BYTES."""

    __slots__ = ("_batches", "_bytes", "_max_messages", "_messages", "max_bytes")

    def __init__(self) -> None:
        self.max_bytes: int = conf.get("STREAM_BUFFER_BYTES")
        self._max_messages: int = conf.get("STREAM_BUFFER_MESSAGES")
        self.clear()

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, batch: Batch) -> bool:
        """Add a batch; return False on overflow. One alone always fits: the hub bounds it."""
        self._batches.append(batch)
        self._messages += batch.count
        self._bytes += batch.size
        fits = self._messages <= self._max_messages and self._bytes <= self.max_bytes
        return fits or len(self._batches) == 1

    def take(self) -> list[Batch]:
        """Return all that waits, and empty the buffer."""
        batches = self._batches
        self.clear()
        return batches

    def clear(self) -> None:
        self._batches: list[Batch] = []
        self._messages = self._bytes = 0
