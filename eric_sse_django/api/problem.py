"""
Errors as problem details: their form, their documentation in OpenAPI, and unexpected errors.

See: RFC 9457, https://www.rfc-editor.org/rfc/rfc9457.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:eric-sse-django:problem:"

# For each status: the last part of `type`, and `title`.
KINDS = {
    400: ("malformed", "Malformed request"),
    401: ("unauthenticated", "Not authenticated"),
    403: ("forbidden", "Permission denied"),
    404: ("unknown", "Not found"),
    405: ("method", "Method not allowed"),
    409: ("conflict", "Conflict"),
    413: ("too-large", "Too large"),
    415: ("media-type", "Unsupported media type"),
    422: ("invalid", "Invalid value"),
    429: ("too-many", "Too many messages"),
    500: ("unexpected", "Internal error"),
    503: ("busy", "Temporarily unavailable"),
}

SCHEMA = {"$ref": "#/components/schemas/ProblemOut"}
ADDED_HEADERS = {
    401: {"WWW-Authenticate": "Always Bearer."},
    405: {"Allow": "The allowed methods."},
    429: {"Retry-After": "Seconds to wait."},
    503: {"Retry-After": "Seconds to wait."},
}
# Statuses that every operation may return.
ALWAYS = (400, 401, 403, 413, 415, 422, 503)


class Problem(Exception):
    """
    An error response. `names` maps the places of invalid values to what is wrong with each.

    The text is for the caller: it contains only what the caller sent or may see.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        names: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.names = names or {}
        self.headers = headers or {}

    def response(self) -> HttpResponse:
        """Return it as an HTTP response."""
        body = json.dumps(body_of(self.status, self.detail, self.names))
        return HttpResponse(
            body, status=self.status, content_type=MEDIA_TYPE, headers=dict(self.headers)
        )


def body_of(status: int, detail: str, names: dict[str, str]) -> dict[str, Any]:
    """Return the members of a problem; `errors` only if values are named."""
    kind, title = KINDS[status]
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + kind,
        "title": title,
        "status": status,
        "detail": detail,
    }
    if names:
        body["errors"] = [{"name": name, "detail": why} for name, why in names.items()]
    return body


# Unexpected errors ----------------------------------------------------------------------


def guarded(view: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
    """Return the view with every error as a problem. Keeps its attributes (csrf_exempt)."""

    @wraps(view)
    def guard(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = view(request, *args, **kwargs)
        except Problem as problem:
            return problem.response()
        except Exception as error:  # noqa: BLE001 - it is logged, and the caller gets a 500
            return unexpected(request, error)
        if response.status_code == 405:
            allow = response.headers["Allow"]
            names = {"method": "not allowed"}
            return Problem(405, f"Allowed methods: {allow}.", names, {"Allow": allow}).response()
        return response

    return guard


def unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """Log an unexpected error; return a response that shows nothing of it."""
    logger.error(
        "an API request failed method=%s path=%.200r", request.method, request.path, exc_info=error
    )
    # For receivers of Django's signal: error trackers, and Django's test client.
    got_request_exception.send(sender=None, request=request)
    return Problem(500, "The server's log has the error. Nothing was published.").response()


# In OpenAPI -----------------------------------------------------------------------------


def errors(*statuses: int) -> dict[str, Any]:
    """Return ninja's `openapi_extra` for an operation that returns these statuses and ALWAYS."""
    found = sorted({*ALWAYS, *statuses})
    return {"responses": {status: _documented(status) for status in found}}


def _documented(status: int) -> dict[str, Any]:
    _, title = KINDS[status]
    example = body_of(status, f"{title}: what to do about it.", {})
    response: dict[str, Any] = {
        "description": title,
        "content": {MEDIA_TYPE: {"schema": SCHEMA, "example": example}},
    }
    if status in ADDED_HEADERS:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in ADDED_HEADERS[status].items()
        }
    return response
