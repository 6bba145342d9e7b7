"""
The caller: the user of a bearer token or of a Django session, and what that user may do.

403 if that depends on the caller alone: the response names the missing permission. 404 if it
depends on the object: the response is the same for unknown and for forbidden objects.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from eric_sse_django import conf
from eric_sse_django.api.problem import Problem
from eric_sse_django.authorization import ask_now, authorizer
from eric_sse_django.database.rows import channel_row, listener_row
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.models import ApiToken, Channel, Listener

APP = "eric_sse_django"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="eric_sse_django"'}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Bytes of a request's body beside its payloads, for each message: type, address, brackets.
ENVELOPE_BYTES = 4_096
# The one operation whose body holds many messages.
BATCH_NAME = "publish_batch"


@dataclass(frozen=True)
class Caller:
    """A user, and the token of the request: None in a session."""

    user: Any
    token: ApiToken | None = None


def caller_of(request: HttpRequest) -> Caller:
    """Return the caller that this module has authenticated."""
    caller: Caller = request.auth  # type: ignore[attr-defined]
    return caller


class BearerToken(HttpBearer):
    """`Authorization: Bearer <token>`. With that header the session is ignored."""

    def __call__(self, request: HttpRequest) -> Caller | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem(401, "Send Authorization: Bearer <token>.", headers=CHALLENGE)
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        """Return the token's user; raises a Problem, the same for every invalid token."""
        found = ApiToken.objects.of_secret(token)
        if found is None or not found.user.is_active:
            raise Problem(401, "The token is unknown, expired or inactive.", headers=CHALLENGE)
        found.note_use()
        _check_body(request)
        return Caller(found.user, found)


class Session(APIKeyCookie):
    """Django's session cookie, with the CSRF token for methods that change something."""

    param_name = "sessionid"

    def __call__(self, request: HttpRequest) -> Caller:
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            raise Problem(401, "Send a bearer token, or log in.", headers=CHALLENGE)
        if request.method not in SAFE_METHODS and check_csrf(request) is not None:
            raise Problem(
                403,
                "A session needs the CSRF token: send it in the header X-CSRFToken.",
                {"X-CSRFToken": "missing or wrong, or the Origin is not trusted"},
            )
        _check_body(request)
        return Caller(user)

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        """Not called: Django's middleware has found the user already."""
        raise NotImplementedError


# The body -------------------------------------------------------------------------------


def _check_body(request: HttpRequest) -> None:
    """
    Raise a Problem for a body that is too large, by its headers, or that is not JSON.

    Called once method and caller are valid, before anything is parsed.
    """
    most = _max_bytes(request)
    announced = request.headers.get("Content-Length") or "0"
    if not (announced.isascii() and announced.isdigit()):
        raise Problem(400, "Content-Length is not a number.", {"Content-Length": "not a number"})
    if int(announced[:20]) > most:
        raise _too_large(most)
    try:
        size = len(request.body)
    except RequestDataTooBig:
        raise _too_large("DATA_UPLOAD_MAX_MEMORY_SIZE") from None
    except UnreadablePostError:
        raise Problem(400, "The body is shorter than its Content-Length.") from None
    if size > most:
        raise _too_large(most)
    if size and request.content_type != "application/json":
        raise Problem(
            415,
            "Send JSON, with Content-Type: application/json.",
            {"Content-Type": "not application/json"},
            {"Accept": "application/json"},
        )


def _max_bytes(request: HttpRequest) -> int:
    match = request.resolver_match
    is_batch = match is not None and match.url_name == BATCH_NAME
    messages = conf.get("MAX_BATCH_MESSAGES") if is_batch else 1
    return int(messages * (conf.get("MAX_MESSAGE_BYTES") + ENVELOPE_BYTES))


def _too_large(most: int | str) -> Problem:
    return Problem(
        413,
        f"The body may have {most} bytes: send less in one request, or raise the limit.",
        {"body": "too large"},
    )


# What it may do -------------------------------------------------------------------------


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
