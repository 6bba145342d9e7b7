"""
Who may do what.

403 where the answer depends on the caller alone: a permission of Django's is missing, and is
named. 404 where it depends on the thing: unknown and not the caller's are one answer.
"""

from __future__ import annotations

import inspect
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest

from eric_sse_django.api.caller import caller_of
from eric_sse_django.api.problem import Problem
from eric_sse_django.authorization import authorizer
from eric_sse_django.database.rows import channel_row, listener_row
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.models import Channel, Listener

APP = "eric_sse_django"


def has(request: HttpRequest, permission: str) -> bool:
    """Whether the caller has one of the app's permissions, such as "add_channel"."""
    return bool(caller_of(request).user.has_perm(f"{APP}.{permission}"))


def require(request: HttpRequest, permission: str) -> None:
    """Raise a Problem for a caller without the permission. Before any look at what exists."""
    if not has(request, permission):
        raise Problem(403, f"This needs the permission {APP}.{permission}.")


def known_channel(channel_id: str) -> Channel:
    """Return the channel; raises a Problem. For callers who may know what exists."""
    try:
        return channel_row(channel_id)
    except InvalidChannelException:
        raise _unknown("channel", channel_id) from None


def known_listener(channel_id: str, listener_id: str) -> Listener:
    """Return the listener; raises a Problem. For callers who may know what exists."""
    try:
        return listener_row(known_channel(channel_id), listener_id)
    except InvalidListenerException:
        raise _unknown("listener", listener_id) from None


def publishable(request: HttpRequest, channel_id: str) -> Channel:
    """Return the channel to publish to; raises a Problem, the same for unknown and forbidden."""
    try:
        row = channel_row(channel_id)
    except InvalidChannelException:
        row = None
    if row is None or not _says(authorizer().can_publish, caller_of(request).user, row):
        raise Problem(
            404,
            "There is no such channel that you may publish to: create it, or ask for leave "
            f"({APP}.publish_channel, or what the project's AUTHORIZER asks for).",
            {"channel_id": "unknown, or not yours to publish to"},
        )
    return row


def own_listener(
    request: HttpRequest, channel_id: str, listener_id: str, permission: str | None = None
) -> Listener:
    """
    Return a listener that the caller may listen to, or has a permission for.

    Raises a Problem, the same for unknown and forbidden.
    """
    try:
        row = listener_row(channel_row(channel_id), listener_id)
    except (InvalidChannelException, InvalidListenerException):
        row = None
    if row is not None and permission is not None and has(request, permission):
        return row
    user = caller_of(request).user
    if row is None or not _says(authorizer().can_listen, user, row.channel, row):
        raise Problem(
            404,
            "There is no such listener of yours in such a channel.",
            {"listener_id": "unknown, or not yours"},
        )
    return row


def _unknown(what: str, identifier: str) -> Problem:
    return Problem(404, f"There is no {what} {identifier!r}.", {f"{what}_id": "unknown"})


def _says(rule: Any, *args: Any) -> bool:
    """Return what a rule says: a project may write it as a coroutine function."""
    if inspect.iscoroutinefunction(rule):
        return bool(async_to_sync(rule)(*args))
    return bool(rule(*args))
