"""After a commit: give the committed messages their positions, then wake who serves them."""

from eric_sse_django.notifier.current import (
    close,
    current,
    flush,
    ring,
    ring_on_commit,
    settle,
    started,
)
from eric_sse_django.notifier.notifier import Notifier

__all__ = [
    "Notifier",
    "close",
    "current",
    "flush",
    "ring",
    "ring_on_commit",
    "settle",
    "started",
]
