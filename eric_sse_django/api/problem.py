"""
Errors as problem details.

See: RFC 9457, https://www.rfc-editor.org/rfc/rfc9457.html
"""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:eric-sse-django:problem:"

# For each status: the last part of `type`, and `title`.
KINDS = {
    400: ("malformed", "The request cannot be read"),
    401: ("unauthenticated", "Nobody is logged in"),
    403: ("forbidden", "Not allowed"),
    404: ("unknown", "Nothing here that you may use"),
    405: ("method", "No such method here"),
    409: ("conflict", "In the way of what is there"),
    413: ("too-large", "Too large"),
    415: ("media-type", "Not JSON"),
    422: ("invalid", "A value cannot be used"),
    429: ("too-many", "Too many messages"),
    500: ("unexpected", "Something failed here"),
    503: ("busy", "Can not be answered now"),
}


class Problem(Exception):
    """
    An answer other than success. `names` are the offending values' places, each with why.

    The text is for the caller: it holds nothing but what the caller sent or may see.
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
    """Return the members of a problem; `errors` only where values are named."""
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
