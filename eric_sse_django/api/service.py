"""The API as a whole: its operations, who calls, how errors are answered, its OpenAPI."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

from eric_sse_django import __version__
from eric_sse_django.api import channels, listeners, publishing, queues, tickets
from eric_sse_django.api.caller import BearerToken, Session
from eric_sse_django.api.guard import unexpected
from eric_sse_django.api.problem import Problem
from eric_sse_django.api.schemas import ProblemOut
from eric_sse_django.exception import (
    ChannelExists,
    InvalidIdentifier,
    InvalidListenerException,
    RepositoryError,
    TooManyListeners,
)

NAMESPACE = "eric_sse_api"
BUSY_S = 1  # a deadlock or a lock is over by then
# Errors of one request that are named; beyond, the caller has enough to mend.
NAMED_MOST = 20


class EricAPI(NinjaAPI):
    """Ninja's, with problem details, and operations called by their names."""

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        model = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"].update(model.pop("$defs"), ProblemOut=model)
        return schema


api = EricAPI(
    title="Durable Server-Sent Events",
    version=__version__,
    description="Publish to channels and listeners; operate them; read their queues.",
    urls_namespace=NAMESPACE,
    auth=[BearerToken(), Session()],
)
for part in (channels, listeners, tickets, publishing, queues):
    api.add_router("", part.router)


@api.exception_handler(Problem)
def on_problem(request: HttpRequest, problem: Any) -> HttpResponse:
    return problem.response()  # type: ignore[no-any-return]


@api.exception_handler(HttpError)
def on_http_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Ninja raises it for a body that is no JSON."""
    return Problem(400, "The body is no JSON.", {"body": "no JSON"}).response()


@api.exception_handler(ValidationError)
def on_validation_error(request: HttpRequest, error: Any) -> HttpResponse:
    names = {}
    for each in error.errors[:NAMED_MOST]:
        place = [str(part) for part in each["loc"]]
        if place[:2] == ["body", "body"]:  # the parameter's name is ours
            del place[0]
        names[".".join(place)] = str(each["msg"])
    detail = "; ".join(f"{name}: {why}" for name, why in names.items())
    return Problem(422, detail, names).response()


@api.exception_handler(ChannelExists)
def on_conflict(request: HttpRequest, error: Any) -> HttpResponse:
    detail = f"There is a channel {error.channel_id!r} already."
    return Problem(409, detail, {"body.id": "taken"}).response()


@api.exception_handler(TooManyListeners)
def on_too_many_listeners(request: HttpRequest, error: Any) -> HttpResponse:
    return Problem(409, str(error), {"channel_id": "full"}).response()


@api.exception_handler(InvalidIdentifier)
def on_invalid_identifier(request: HttpRequest, error: Any) -> HttpResponse:
    return Problem(422, str(error), {"body.id": error.rule}).response()


@api.exception_handler(InvalidListenerException)
def on_removed(request: HttpRequest, error: Any) -> HttpResponse:
    """It was removed while the request ran, or is not there to dispatch to."""
    return Problem(404, str(error), {"listener_id": "unknown"}).response()


@api.exception_handler(RepositoryError)
def on_repository_error(request: HttpRequest, error: Any) -> HttpResponse:
    cause = error.__cause__
    return on_database_error(request, cause if isinstance(cause, DatabaseError) else error)


@api.exception_handler(DatabaseError)
@api.exception_handler(InterfaceError)
def on_database_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Locks, deadlocks and outages pass; anything else is an error of ours."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return unexpected(request, error)
    detail = "Nothing was done: send it again, with the same Idempotency-Key if it has one."
    return Problem(503, detail, headers={"Retry-After": str(BUSY_S)}).response()


@api.exception_handler(Exception)
def on_unexpected(request: HttpRequest, error: Any) -> HttpResponse:
    return unexpected(request, error)
