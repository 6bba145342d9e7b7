"""The project's rules (ERIC_SSE["AUTHORIZER"]) as permission classes."""

from __future__ import annotations

import asyncio
from typing import Any

from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from eric_sse_django.authorization import ask_now, authorizer
from eric_sse_django.database.rows import channel_row, listener_row
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.models import Channel, Listener


class RuleTimedOut(APIException):
    """503: the project's rule is a coroutine that took longer than HOOK_TIMEOUT_S."""

    status_code = 503
    default_detail = "The project's rule did not answer in time: send the request again."
    default_code = "rule_timed_out"


class RulePermission(BasePermission):
    """
    Asks a rule about the channel of the view: `channel_id` of its URL, or its attribute.

    An unknown channel and one that the rule refuses have the same answer: 404, or without a login
    that of Django REST framework (401 or 403).
    """

    rule = ""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return whether the rule gives access; raise Http404 for a user it refuses."""
        rows = self.rows(view)
        if rows is not None and self._asks(request, rows):
            return True
        if request.user and request.user.is_authenticated:
            raise Http404
        return False

    def rows(self, view: APIView) -> tuple[Any, ...] | None:
        """Return what the rule is asked about; None if it does not exist."""
        channel = channel_of(view)
        return None if channel is None else (channel,)

    def _asks(self, request: Request, rows: tuple[Any, ...]) -> bool:
        try:
            return ask_now(getattr(authorizer(), self.rule), request.user, *rows)
        except asyncio.TimeoutError:
            raise RuleTimedOut from None


class MayWatch(RulePermission):
    """Asks can_watch."""

    rule = "can_watch"


class MayPublish(RulePermission):
    """Asks can_publish."""

    rule = "can_publish"


class MayListen(RulePermission):
    """Asks can_listen about the listener: `listener_id` of the view's URL, or its attribute."""

    rule = "can_listen"

    def rows(self, view: APIView) -> tuple[Any, ...] | None:
        """Return the channel and the listener; None if one does not exist."""
        channel, listener = channel_of(view), listener_of(view)
        return None if channel is None or listener is None else (channel, listener)


def channel_of(view: APIView) -> Channel | None:
    """Return the channel that a view is about, None if there is none. One query a request."""
    if "_eric_channel" not in view.__dict__:
        try:
            view._eric_channel = channel_row(_id(view, "channel_id"))
        except InvalidChannelException:
            view._eric_channel = None
    found: Channel | None = view._eric_channel
    return found


def listener_of(view: APIView) -> Listener | None:
    """Return the listener that a view is about, None if there is none. Two queries a request."""
    channel = channel_of(view)
    if channel is not None and "_eric_listener" not in view.__dict__:
        try:
            view._eric_listener = listener_row(channel, _id(view, "listener_id"))
        except InvalidListenerException:
            view._eric_listener = None
    found: Listener | None = getattr(view, "_eric_listener", None)
    return found


def _id(view: APIView, name: str) -> str:
    return str(view.kwargs.get(name) or getattr(view, name, ""))
