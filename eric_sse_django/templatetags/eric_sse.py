"""`{% load eric_sse %}`: the paths of streams, with fresh tickets, and a page's cursor."""

from __future__ import annotations

from typing import Any

from django import template

from eric_sse_django import shortcuts
from eric_sse_django.database import DatabaseListener

register = template.Library()


@register.simple_tag
def eric_cursor() -> str:
    """
    Return the log's head, read live: one query at each place in the template.

    As digits: Django writes an integer of a tag with thousand separators, and none at all
    where autoescape is off.

    It must stand before what the page shows is queried, so above lazy querysets; a view
    that queries itself calls shortcuts.cursor() first, and puts it in the context.
    """
    return str(shortcuts.cursor())


@register.simple_tag(takes_context=True)
def eric_stream_url(context: Any, listener: Any, cursor: int | str | None = None) -> str:
    """
    Return the path of a listener's stream, with a ticket: shortcuts.stream_url().

    The ticket is bound to the user and session of the context's `request`.
    """
    if not isinstance(listener, DatabaseListener):
        raise TypeError(
            f"eric_stream_url takes a listener, as shortcuts.listen() returns, not {listener!r}."
        )
    return shortcuts.stream_url(listener, True, request=context.get("request"), cursor=cursor)


@register.simple_tag(takes_context=True)
def eric_watch_url(context: Any, channel_id: str, cursor: int | str | None = None) -> str:
    """
    Return the path of watching a channel, with a ticket: shortcuts.watch_url().

    The ticket is bound to the user and session of the context's `request`.
    """
    if not channel_id:
        raise ValueError("eric_watch_url takes the id of a channel, and got an empty one.")
    return shortcuts.watch_url(channel_id, request=context.get("request"), cursor=cursor)
