"""
The API: its routers and authentication, a response for each error, its OpenAPI, its URLs.

Include it in the project's urls.py: `path("api/", include("eric_sse_django.api.urls"))`.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

from eric_sse_django import __version__
from eric_sse_django.api import channels, listeners, publishing, queues, tickets
from eric_sse_django.api.access import BearerToken, Session
from eric_sse_django.api.problem import Problem, guarded, unexpected
from eric_sse_django.api.schemas import ProblemOut
from eric_sse_django.exception import (
    ChannelExists,
    InvalidIdentifier,
    InvalidListenerException,
    RepositoryError,
    TooManyListeners,
)

NAMESPACE = "eric_sse_api"
BUSY_S = 1  # by then a deadlock or a lock has usually ended
# Validation errors of one request that the response names.
MAX_ERRORS = 20


def with_problems(schema: OpenAPISchema) -> OpenAPISchema:
    """Add the schema of problems, which the operations refer to; return the document."""
    model = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["components"]["schemas"].update(model.pop("$defs"), ProblemOut=model)
    return schema


class EricAPI(NinjaAPI):
    """NinjaAPI with the schema of problems; an operation's id is its function's name."""

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        return with_problems(super().get_openapi_schema(**options))


api = EricAPI(
    title="Durable Server-Sent Events",
    version=__version__,
    description="Publish to channels and listeners, operate them, and read queues.",
    urls_namespace=NAMESPACE,
    auth=[BearerToken(), Session()],
)
for module in (channels, listeners, tickets, publishing, queues):
    api.add_router("", module.router)


@api.exception_handler(Problem)
def on_problem(request: HttpRequest, problem: Any) -> HttpResponse:
    return problem.response()  # type: ignore[no-any-return]


@api.exception_handler(HttpError)
def on_http_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Ninja raises it for a body that is not JSON."""
    return Problem(400, "The body is not JSON.", {"body": "not JSON"}).response()


@api.exception_handler(ValidationError)
def on_validation_error(request: HttpRequest, error: Any) -> HttpResponse:
    names = {}
    for each in error.errors[:MAX_ERRORS]:
        place = [str(step) for step in each["loc"]]
        if place[:2] == ["body", "body"]:  # the second is the parameter's name
            del place[0]
        names[".".join(place)] = str(each["msg"])
    detail = "; ".join(f"{name}: {why}" for name, why in names.items())
    return Problem(422, detail, names).response()


@api.exception_handler(ChannelExists)
def on_conflict(request: HttpRequest, error: Any) -> HttpResponse:
    detail = f"The channel {error.channel_id!r} already exists."
    return Problem(409, detail, {"body.id": "taken"}).response()


@api.exception_handler(TooManyListeners)
def on_too_many_listeners(request: HttpRequest, error: Any) -> HttpResponse:
    return Problem(409, str(error), {"channel_id": "full"}).response()


@api.exception_handler(InvalidIdentifier)
def on_invalid_identifier(request: HttpRequest, error: Any) -> HttpResponse:
    return Problem(422, str(error), {"body.id": error.rule}).response()


@api.exception_handler(InvalidListenerException)
def on_removed(request: HttpRequest, error: Any) -> HttpResponse:
    """It was removed while the request ran, or the one to dispatch to does not exist."""
    return Problem(404, str(error), {"listener_id": "unknown"}).response()


@api.exception_handler(RepositoryError)
def on_repository_error(request: HttpRequest, error: Any) -> HttpResponse:
    cause = error.__cause__
    return on_database_error(request, cause if isinstance(cause, DatabaseError) else error)


@api.exception_handler(DatabaseError)
@api.exception_handler(InterfaceError)
def on_database_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Return 503 for locks, deadlocks and outages; any other error is unexpected."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return unexpected(request, error)
    detail = (
        "Nothing was changed: send the request again, with the same Idempotency-Key if it has one."
    )
    return Problem(503, detail, headers={"Retry-After": str(BUSY_S)}).response()


@api.exception_handler(Exception)
def on_unexpected(request: HttpRequest, error: Any) -> HttpResponse:
    return unexpected(request, error)


# Ninja's own pages: the schema, its docs, and the root, an empty view.
PAGES = {"openapi-json", "openapi-view", "api-root"}

app_name = NAMESPACE
urlpatterns = api.urls[0]
for pattern in urlpatterns:
    if isinstance(pattern, URLPattern) and pattern.name not in PAGES:
        pattern.callback = guarded(pattern.callback)
