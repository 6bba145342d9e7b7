"""What OpenAPI says of an operation beside its schemas: its errors, with an example of each."""

from __future__ import annotations

from typing import Any

from eric_sse_django.api import problem

SCHEMA = {"$ref": "#/components/schemas/ProblemOut"}
HEADERS = {
    401: {"WWW-Authenticate": "Always Bearer."},
    405: {"Allow": "The methods that there are."},
    429: {"Retry-After": "Seconds to wait."},
    503: {"Retry-After": "Seconds to wait."},
}
# What every operation may answer.
ALWAYS = (400, 401, 403, 413, 415, 422, 503)


def errors(*statuses: int) -> dict[str, Any]:
    """Return ninja's `openapi_extra` for an operation that answers with these, and ALWAYS."""
    found = sorted({*ALWAYS, *statuses})
    return {"responses": {status: _response(status) for status in found}}


def _response(status: int) -> dict[str, Any]:
    _, title = problem.KINDS[status]
    example = problem.body_of(status, f"{title}: what to do about it.", {})
    response: dict[str, Any] = {
        "description": title,
        "content": {problem.MEDIA_TYPE: {"schema": SCHEMA, "example": example}},
    }
    if status in HEADERS:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in HEADERS[status].items()
        }
    return response


def example(value: Any) -> dict[str, Any]:
    """Return the part of `openapi_extra` that shows a body to send."""
    return {"requestBody": {"content": {"application/json": {"example": value}}}}
