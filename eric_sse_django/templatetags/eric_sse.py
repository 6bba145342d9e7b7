"""`{% load eric_sse %}`: the paths of streams, with fresh tickets, and a page's cursor."""

from __future__ import annotations

from typing import Any

from django import template

from eric_sse_django import address, shortcuts
from eric_sse_django.authorization import opens_without_ticket
from eric_sse_django.database import DatabaseListener
from eric_sse_django.database.rows import channel_row
from eric_sse_django.exception import InvalidChannelException

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
def eric_stream_url(
    context: Any, listener: Any, cursor: int | str | None = None, unbound: bool = False
) -> str:
    """
    Return the path of a listener's stream: shortcuts.stream_url().

    With a ticket, bound to the user and session of the context's `request`, where the session
    does not open the stream by itself. `unbound`: with a ticket for whoever has the URL.
    """
    if not isinstance(listener, DatabaseListener):
        raise TypeError(
            f"eric_stream_url takes a listener, as shortcuts.listen() returns, not {listener!r}."
        )
    request = None if unbound else _request(context, "eric_stream_url")
    row = listener.row
    needs = unbound or not opens_without_ticket(request, row.channel, row)
    return shortcuts.stream_url(listener, needs, request=request if needs else None, cursor=cursor)


@register.simple_tag(takes_context=True)
def eric_watch_url(
    context: Any, channel_id: str, cursor: int | str | None = None, unbound: bool = False
) -> str:
    """
    Return the path of watching a channel: shortcuts.watch_url(). Two queries at most.

    With a ticket, bound to the user and session of the context's `request`, where neither
    `Channel.access` nor the session opens the stream by itself. `unbound`: with a ticket for
    whoever has the URL.
    """
    if not channel_id:
        raise ValueError("eric_watch_url takes the id of a channel, and got an empty one.")
    try:
        row = channel_row(channel_id)
    except InvalidChannelException:
        row = None  # the page may be there before the channel is
    request = context.get("request")
    if row is not None and not unbound and opens_without_ticket(request, row):
        return address.with_query(address.of(channel_id), cursor=cursor)
    request = None if unbound else _request(context, "eric_watch_url")
    return shortcuts.watch_url(channel_id, request=request, cursor=cursor)


def _request(context: Any, tag: str) -> Any:
    """Return the context's request; raise ValueError where it has none."""
    request = context.get("request")
    if request is None:
        raise ValueError(
            f"{tag} binds its ticket to the session of the request, and the context has none: "
            "render the template with one (render(request, …), and the context processor "
            "django.template.context_processors.request), or say unbound=True to give the stream "
            "to whoever has the URL."
        )
    return request
