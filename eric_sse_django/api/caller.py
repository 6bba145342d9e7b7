"""Who calls: the user of a bearer token, or of a Django session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from eric_sse_django.api.guard import check_body
from eric_sse_django.api.problem import Problem
from eric_sse_django.models import ApiToken

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="eric_sse_django"'}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """A user, and the token that spoke for them: None in a session."""

    user: Any
    token: ApiToken | None = None


def caller_of(request: HttpRequest) -> Caller:
    """Return who calls, once an authenticator of this module has let them in."""
    caller: Caller = request.auth  # type: ignore[attr-defined]
    return caller


class BearerToken(HttpBearer):
    """`Authorization: Bearer <token>`. Where the header is, a session counts for nothing."""

    def __call__(self, request: HttpRequest) -> Caller | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem(401, "Send Authorization: Bearer <token>.", headers=CHALLENGE)
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        """Return the token's user; raises a Problem, the same for all that is wrong with it."""
        found = ApiToken.objects.of_secret(token)
        if found is None or not found.user.is_active:
            raise Problem(401, "The token is unknown, expired or switched off.", headers=CHALLENGE)
        found.note_use()
        check_body(request)
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
        check_body(request)
        return Caller(user)

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        """Not in use: Django's middleware has found the user already."""
        raise NotImplementedError
