"""The caller: the user of a bearer token or of a Django session. Then the size of the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from eric_sse_django import conf
from eric_sse_django.api.problem import Problem
from eric_sse_django.models import ApiToken

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="eric_sse_django"'}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Bytes of a request's body beside its payloads, for each message: type, address, brackets.
ENVELOPE_BYTES = 4_096
# The one operation whose body holds many messages.
BATCH = "publish_batch"


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
    is_batch = match is not None and match.url_name == BATCH
    messages = conf.get("MAX_BATCH_MESSAGES") if is_batch else 1
    return int(messages * (conf.get("MAX_MESSAGE_BYTES") + ENVELOPE_BYTES))


def _too_large(most: int | str) -> Problem:
    return Problem(
        413,
        f"The body may have {most} bytes: send less in one request, or raise the limit.",
        {"body": "too large"},
    )
