"""Whether this process has made the application that serves streams."""

from __future__ import annotations

import logging

from django.conf import settings

logger = logging.getLogger(__name__)

_is_mounted = False
_is_said = False


def note() -> None:
    """Record that the streams are part of an ASGI application of this process."""
    global _is_mounted
    _is_mounted = True


def is_mounted() -> bool:
    """Whether with_streams() was called, or the routing's `urlpatterns` were taken."""
    return _is_mounted


def warn_in_debug() -> None:
    """With DEBUG, log once that URLs of streams are made where nothing serves them."""
    global _is_said
    if settings.DEBUG and not (_is_mounted or _is_said):
        _is_said = True
        logger.warning(
            "a stream's URL was made in a process that serves no streams: unless another one "
            "does, wrap the application of asgi.py in with_streams(), and run that; for "
            'runserver, put "daphne" first in INSTALLED_APPS'
        )
