"""After a commit: give the committed messages their positions, then wake the hubs."""

from eric_sse_django.notifier.notifier import (
    Notifier,
    close,
    current,
    flush,
    prepare,
    publish,
    published,
    ring,
    ring_on_commit,
    settle,
    started,
)

__all__ = [
    "Notifier",
    "close",
    "current",
    "flush",
    "prepare",
    "publish",
    "published",
    "ring",
    "ring_on_commit",
    "settle",
    "started",
]
