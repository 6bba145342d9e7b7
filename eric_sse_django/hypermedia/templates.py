"""Templates that are rendered once, and sent to all pages of a channel."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.template.loader import render_to_string

from eric_sse_django import conf, log
from eric_sse_django.database.arguments import TO_ALL, listener_id_of, narrowed, owner_key
from eric_sse_django.database.channel import known_channel, publish_to, refreshed
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.hypermedia.operations import Operation, operations
from eric_sse_django.models import Channel


@has_twin
def broadcast_template(
    channel: Any,
    template: str | None = None,
    context: dict[str, Any] | None = None,
    *,
    target: str | None = None,
    action: str = "append",
    library: str | None = None,
    owner: Any = TO_ALL,
    listener_id: Any = TO_ALL,
    expires_in_s: float | None = None,
    request: Any = None,
    using: str | None = None,
) -> None:
    """
    Render a template once, and publish it as what the `library` reads.

    `action` is append, prepend, replace, update, before, after, remove or refresh; the last two
    need no template. `target` is the id of an element, or a selector. The channel has the format
    text. `request` and `using` are those of render_to_string(): all listeners get the same HTML.

    Raises ValueError for a channel of another format, and as shortcuts.publish().
    """
    if template is None and action not in ("remove", "refresh"):
        raise ValueError(f"{action!r} needs a template.")
    if owner is not TO_ALL and listener_id is not TO_ALL:
        raise ValueError("Give listener_id or owner, not both.")
    row = with_text(known_channel(channel))
    html = "" if template is None else render(template, context, request, using)
    for each in operations(library_of(library), action, target, html, channel=row.name):
        _publish(row, each, owner, listener_id, expires_in_s)


abroadcast_template = twin_of_function(broadcast_template)


def _publish(
    row: Channel, operation: Operation, owner: Any, listener_id: Any, expires_in_s: float | None
) -> None:
    name = None if listener_id is TO_ALL else listener_id_of(narrowed("listener_id", listener_id))
    key = None if owner is TO_ALL else owner_key(narrowed("owner", owner))
    draft = log.draft(
        row, operation.type, operation.text, owner=key, expires_in_s=expires_in_s, is_html=True
    )
    publish_to(row, draft, name, expires_in_s)


def render(
    template: str, context: dict[str, Any] | None = None, request: Any = None, using: Any = None
) -> str:
    """Return the HTML of a template."""
    return render_to_string(template, context, request, using=using)


def with_text(channel: Channel) -> Channel:
    """
    Return the row of a channel that sends text; read again if it had another format.

    Raises ValueError for a channel that sends JSON.
    """
    if channel.format != Channel.Format.TEXT:
        channel = refreshed(channel.name)
    if channel.format != Channel.Format.TEXT:
        raise ValueError(
            f"The channel {channel.name!r} sends JSON: HTML needs a channel of the format text, "
            f"ERIC_SSE['CHANNELS'] = {{{channel.name!r}: {{'format': 'text'}}}}."
        )
    return channel


def library_of(given: str | None, is_needed: bool = True) -> str:
    """Return the name of a library, or that of the settings. Raises ImproperlyConfigured."""
    found = given or conf.get("HYPERMEDIA")
    if found is None and is_needed:
        raise ImproperlyConfigured(
            "Name the library that your pages use in ERIC_SSE['HYPERMEDIA'], or give library=…: "
            f"one of {', '.join(conf.LIBRARIES)}."
        )
    return found or ""
