"""Whether this process has made the application that serves streams."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.core.signals import request_started

logger = logging.getLogger(__name__)

_is_mounted = False
_is_said = False
# Whether this process has begun to answer a request: a shell or a worker serves no streams either,
# and need not.
_has_requests = False


def on_request(**_: Any) -> None:
    """Record that this process answers requests. Receives the first `request_started` only."""
    global _has_requests
    _has_requests = True
    request_started.disconnect(on_request)


def note() -> None:
    """Record that the streams are part of an ASGI application of this process."""
    global _is_mounted
    _is_mounted = True


def is_mounted() -> bool:
    """Whether with_streams() was called, or the routing's `urlpatterns` were taken."""
    return _is_mounted


def warn_in_debug() -> None:
    """With DEBUG, log once that a server process makes URLs of streams and serves none."""
    global _is_said
    if settings.DEBUG and _has_requests and not (_is_mounted or _is_said):
        _is_said = True
        logger.warning(
            "a stream's URL was made by a server process that serves no streams: unless another "
            "one does, wrap the application of asgi.py in with_streams(), and run that; for "
            'runserver, put "daphne" first in INSTALLED_APPS'
        )
