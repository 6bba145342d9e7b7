"""Whether this process has made the application that serves streams."""

from __future__ import annotations

_is_mounted = False


def note() -> None:
    """Record that the streams are part of an ASGI application of this process."""
    global _is_mounted
    _is_mounted = True


def is_mounted() -> bool:
    """Whether with_streams() was called, or the routing's `urlpatterns` were taken."""
    return _is_mounted
