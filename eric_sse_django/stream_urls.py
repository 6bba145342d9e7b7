"""The URLs of streams, and whether this process serves them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.core.signals import request_started
from django.urls import get_script_prefix

from eric_sse_django import conf

logger = logging.getLogger(__name__)

_is_mounted = False
_is_logged = False
# True once this process answers a request: a shell or a worker need not serve streams.
_has_requests = False


def root() -> str:
    """
    Return the path below which all streams are.

    Reads FORCE_SCRIPT_NAME itself: Django sets its prefix per request, not in other threads.
    """
    forced = settings.FORCE_SCRIPT_NAME
    prefix = get_script_prefix() if forced is None else f"{forced.rstrip('/')}/"
    return f"{prefix}{conf.get('URL_PREFIX')}"


def path_of(channel_id: str, listener_id: str | None = None) -> str:
    """Return the path of a listener's stream; without a listener, of watching the channel."""
    ids = [channel_id] if listener_id is None else [channel_id, listener_id]
    return root() + "".join(f"{quote(one, safe='')}/" for one in ids)


def with_query(
    path: str,
    tickets: Sequence[str] = (),
    cursor: int | str | None = None,
    more: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the path with a query; raises ValueError for a cursor that is not a position."""
    _warn_if_not_served()
    query: list[tuple[str, Any]] = [*more, *(("ticket", ticket) for ticket in tickets)]
    if cursor is not None:
        # A template renders an unknown name as "": as "no cursor" it would lose events.
        if not str(cursor).isdecimal():
            raise ValueError(
                f"{cursor!r} is not a position: pass what shortcuts.cursor() returned."
            )
        # First: a path that was escaped for HTML and used in a script loses all other fields.
        # A request without its ticket is refused; one without its cursor would miss events.
        query.insert(0, ("last_event_id", cursor))
    return f"{path}?{urlencode(query, safe=':')}" if query else path


# Whether they are served ----------------------------------------------------------------


def on_request(**_: Any) -> None:
    """Record that this process answers requests. Receives the first `request_started` only."""
    global _has_requests
    _has_requests = True
    request_started.disconnect(on_request)


def set_mounted() -> None:
    """Record that an ASGI application of this process serves streams."""
    global _is_mounted
    _is_mounted = True


def is_mounted() -> bool:
    """Return whether with_streams() was called, or the routing's `urlpatterns` were read."""
    return _is_mounted


def _warn_if_not_served() -> None:
    """With DEBUG, log once that a server process builds stream URLs but serves no streams."""
    global _is_logged
    if settings.DEBUG and _has_requests and not (_is_mounted or _is_logged):
        _is_logged = True
        logger.warning(
            "a server process that serves no streams built the URL of a stream: unless another "
            "process serves them, wrap the application of asgi.py in with_streams() and run "
            'it; for runserver, put "daphne" first in INSTALLED_APPS'
        )
