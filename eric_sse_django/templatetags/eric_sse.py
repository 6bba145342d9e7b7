"""`{% load eric_sse %}`: paths of streams with new tickets, and the cursor of a page."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.functional import cached_property

from eric_sse_django import hypermedia, log, notifier, shortcuts, stream_urls
from eric_sse_django.authorization import opens_without_ticket
from eric_sse_django.broadcasts.declaration import dom_id
from eric_sse_django.database import DatabaseListener
from eric_sse_django.database.rows import channel_row
from eric_sse_django.exception import InvalidChannelException

register = template.Library()


@register.simple_tag
def eric_cursor() -> str:
    """
    Return the head of the log. Each use in a template makes one query.

    A string, because Django would localize an integer ("1,234").

    The head must be read before the data that the page shows: put the tag above lazy querysets.
    A view that queries the data calls shortcuts.cursor() first and passes it in the context.
    """
    return str(shortcuts.cursor())


class Online:
    """
    The users and watchers that are online in a channel; in a template, their number.

    `watchers` is the number of their streams. Each is queried at its first use.
    """

    def __init__(self, channel_id: Any) -> None:
        self._channel = channel_id

    @cached_property
    def users(self) -> list[Any]:
        return shortcuts.users_online(self._channel)

    @cached_property
    def watchers(self) -> int:
        return shortcuts.watchers_online(self._channel)

    def __str__(self) -> str:
        return str(len(self.users) + self.watchers)


@register.simple_tag
def eric_online(channel_id: Any) -> Online:
    """
    Return the users and watchers that are online in a channel.

    `{% eric_online "orders" %}` is the number of users and watchers; with `as online`,
    `online.users` are the users, and `online.watchers` is the number of streams that watch.
    """
    return Online(channel_id)


@register.simple_tag(takes_context=True)
def eric_stream_url(
    context: Any, listener: Any, cursor: int | str | None = None, unbound: bool = False
) -> str:
    """
    Return the path of a listener's stream: shortcuts.stream_url().

    If the session gives no access to the stream, the path has a ticket that is bound to the user
    and session of the context's `request`. With `unbound`, it has a ticket that is valid for
    anyone who has the URL.
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
    Return the path of a stream that watches a channel: shortcuts.watch_url(). Two queries at most.

    If neither `Channel.access` nor the session gives access to the stream, the path has a ticket
    that is bound to the user and session of the context's `request`. With `unbound`, it has a
    ticket that is valid for anyone who has the URL.
    """
    if not channel_id:
        raise ValueError("eric_watch_url takes the id of a channel, and got an empty one.")
    try:
        row = channel_row(channel_id)
    except InvalidChannelException:
        row = None  # the page may be rendered before the channel exists
    request = context.get("request")
    if row is not None and not unbound and opens_without_ticket(request, row):
        return stream_urls.with_query(stream_urls.path_of(channel_id), cursor=cursor)
    request = None if unbound else _request(context, "eric_watch_url")
    return shortcuts.watch_url(channel_id, request=request, cursor=cursor)


@register.simple_tag(takes_context=True)
def eric_stream(
    context: Any,
    source: Any,
    library: str | None = None,
    cursor: int | str | None = None,
    shared: bool = False,
    unbound: bool = False,
) -> str:
    """
    Return the element by which the pages of a library open a stream: hypermedia.element().

    `source` is a listener, or the id of a channel to watch; without a `cursor`, a page watches
    from the place of the tag on. The library is that of ERIC_SSE["HYPERMEDIA"], unless one is
    given. With `shared`, the stream is that of <eric-stream>, which all tabs share.
    """
    name = hypermedia.library_of(library)
    if isinstance(source, DatabaseListener):
        url = eric_stream_url(context, source, cursor, unbound)
        return hypermedia.element(name, url, source.row.channel.name, shared=shared)
    at = eric_cursor() if cursor is None else cursor
    url = eric_watch_url(context, source, at, unbound)
    # The extension of htmx 2 opens the same URL again after an error, with the same cursor.
    return hypermedia.element(name, url, source, shared=shared or name == "htmx2")


@register.simple_tag
def eric_unread(listener: Any) -> str:
    """
    Return how many messages wait for a listener: of one that acknowledges, the unread ones.

    One query. A string, because Django would localize an integer ("1,234").
    """
    if not isinstance(listener, DatabaseListener):
        raise TypeError(f"eric_unread takes a listener, as listen() returns, not {listener!r}.")
    notifier.settle()
    return str(log.waiting(listener.row))


@register.simple_tag
def eric_dom_id(row: Any) -> str:
    """Return the id of a row's element, by which a model's broadcasts replace and remove it."""
    return dom_id(row)


def _request(context: Any, tag: str) -> Any:
    """Return the context's request; raise ValueError if it has none."""
    request = context.get("request")
    if request is None:
        raise ValueError(
            f"{tag} binds its ticket to the session of the request, but the context has no "
            "request. Render the template with one (render(request, …), and the context processor "
            "django.template.context_processors.request), or set unbound=True to give access to "
            "anyone who has the URL."
        )
    return request
