"""Where streams are: their paths, for an EventSource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.urls import get_script_prefix

from eric_sse_django import conf, mounted


def root() -> str:
    """
    Return the path below which all streams are.

    In threads of its own Django forgets FORCE_SCRIPT_NAME, which holds for each request.
    """
    forced = settings.FORCE_SCRIPT_NAME
    prefix = get_script_prefix() if forced is None else f"{forced.rstrip('/')}/"
    return f"{prefix}{conf.get('URL_PREFIX')}"


def of(channel_id: str, listener_id: str | None = None) -> str:
    """Return the path of a listener's stream; without one, of watching the channel."""
    ids = [channel_id] if listener_id is None else [channel_id, listener_id]
    return root() + "".join(f"{quote(one, safe='')}/" for one in ids)


def with_query(
    path: str,
    tickets: Sequence[str] = (),
    cursor: int | str | None = None,
    more: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the path with what is given in its query. Raises ValueError for no cursor."""
    mounted.warn_in_debug()
    query: list[tuple[str, Any]] = [*more, *(("ticket", ticket) for ticket in tickets)]
    if cursor is not None:
        # A name that a template does not know is "": not taken for none, which loses events.
        if not str(cursor).isdecimal():
            raise ValueError(f"{cursor!r} is no position: take what shortcuts.cursor() returned.")
        # First: of a path that was escaped for HTML and used in a script, the rest is lost,
        # and to be refused for want of a ticket is better than to miss what came before.
        query.insert(0, ("last_event_id", cursor))
    return f"{path}?{urlencode(query, safe=':')}" if query else path
