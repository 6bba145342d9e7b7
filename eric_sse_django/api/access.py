"""
What the caller may do.

403 if that depends on the caller alone: the response names the missing permission. 404 if it
depends on the object: the response is the same for unknown and for forbidden objects.
"""

from __future__ import annotations

import asyncio
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest

from eric_sse_django.api.caller import caller_of
from eric_sse_django.api.problem import Problem
from eric_sse_django.authorization import ask_now, authorizer
from eric_sse_django.database.rows import channel_row, listener_row
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.models import Channel, Listener

APP = "eric_sse_django"


def has(request: HttpRequest, permission: str) -> bool:
    """Return whether the caller has a permission of the app, such as "add_channel"."""
    return bool(caller_of(request).user.has_perm(f"{APP}.{permission}"))


def require(request: HttpRequest, permission: str) -> None:
    """Raise a Problem for a caller without the permission. Call it before any lookup."""
    if not has(request, permission):
        raise Problem(403, f"This needs the permission {APP}.{permission}.")


def known_user(name: str, place: str) -> Any:
    """Return the user with that name; raises a Problem that names its place in the request."""
    users = get_user_model()
    try:
        # PostgreSQL raises ValueError for a NUL in a query's parameter.
        if name.isprintable():
            return users._default_manager.get_by_natural_key(name)
    except users.DoesNotExist:
        pass
    raise Problem(422, f"There is no user {name!r}.", {place: "unknown"})


def known_channel(channel_id: str) -> Channel:
    """Return the channel; raises a Problem. For callers that may know what exists."""
    row = _channel(channel_id)
    if row is None:
        raise _unknown("channel", channel_id)
    return row


def known_listener(channel_id: str, listener_id: str) -> Listener:
    """Return the listener; raises a Problem. For callers that may know what exists."""
    row = listener_of(known_channel(channel_id), listener_id)
    if row is None:
        raise _unknown("listener", listener_id)
    return row


def publishable(request: HttpRequest, channel_id: str) -> Channel:
    """Return the channel to publish to; raises a Problem, the same for unknown and forbidden."""
    row = _channel(channel_id)
    if row is None or not _allows(request, authorizer().can_publish, row):
        raise Problem(
            404,
            "There is no such channel, or you may not publish to it: create it, or get access "
            f"({APP}.publish_channel, or what the project's AUTHORIZER requires).",
            {"channel_id": "unknown or not permitted"},
        )
    return row


def watchable(request: HttpRequest, channel_id: str, permission: str) -> Channel:
    """
    Return a channel that the caller may watch, or has a permission for.

    Raises a Problem, the same for unknown and forbidden.
    """
    row = _channel(channel_id)
    if row is not None and has(request, permission):
        return row
    if row is None or not _allows(request, authorizer().can_watch, row):
        raise Problem(
            404,
            "There is no such channel, or you may not watch it.",
            {"channel_id": "unknown or not permitted"},
        )
    return row


def own_listener(
    request: HttpRequest, channel_id: str, listener_id: str, permission: str | None = None
) -> Listener:
    """
    Return a listener that the caller may listen to, or has a permission for.

    Raises a Problem, the same for unknown and forbidden.
    """
    channel = _channel(channel_id)
    row = None if channel is None else listener_of(channel, listener_id)
    if row is not None and permission is not None and has(request, permission):
        return row
    if row is None or not _allows(request, authorizer().can_listen, row.channel, row):
        raise Problem(
            404,
            "There is no such listener, or you may not use it.",
            {"listener_id": "unknown or not permitted"},
        )
    return row


def listener_of(channel: Channel, listener_id: str) -> Listener | None:
    """Return the channel's listener with that id, None if there is none."""
    try:
        return listener_row(channel, listener_id)
    except InvalidListenerException:
        return None


def _channel(channel_id: str) -> Channel | None:
    try:
        return channel_row(channel_id)
    except InvalidChannelException:
        return None


def _unknown(what: str, identifier: str) -> Problem:
    return Problem(404, f"There is no {what} {identifier!r}.", {f"{what}_id": "unknown"})


def _allows(request: HttpRequest, rule: Any, *rows: Any) -> bool:
    """Return a rule's answer for the caller; raises a Problem if a coroutine takes too long."""
    try:
        return ask_now(rule, caller_of(request).user, *rows)
    except asyncio.TimeoutError:
        raise Problem(
            503, "The project's rule did not answer in time: send the request again."
        ) from None
