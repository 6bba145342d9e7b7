"""
django-ninja: the operations of this app's HTTP API as part of a project's own NinjaAPI.

    from ninja import NinjaAPI
    from eric_sse_django.contrib.ninja import mount

    api = NinjaAPI()
    mount(api, "/events")

The operations, their authentication (bearer tokens, or a session with the CSRF token) and their
rules are those of docs/api.md. Errors that ninja itself finds, such as a body that is not valid,
have the form that the project's API gives them.
"""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI, Router

from eric_sse_django.api import channels, listeners, publishing, queues, tickets, urls
from eric_sse_django.api.access import BearerToken, Session
from eric_sse_django.api.problem import Problem
from eric_sse_django.exception import (
    ChannelExists,
    InvalidIdentifier,
    InvalidListenerException,
    RepositoryError,
    TooManyListeners,
)

HANDLERS: dict[type[Exception], Any] = {
    Problem: urls.on_problem,
    ChannelExists: urls.on_conflict,
    InvalidIdentifier: urls.on_invalid_identifier,
    InvalidListenerException: urls.on_removed,
    RepositoryError: urls.on_repository_error,
    TooManyListeners: urls.on_too_many_listeners,
}


def router() -> Router:
    """Return a new router with all operations and their authentication."""
    made = Router(auth=[BearerToken(), Session()])
    for module in (channels, listeners, tickets, publishing, queues):
        made.add_router("", module.router)
    return made


def mount(api: NinjaAPI, prefix: str = "/events", **options: Any) -> None:
    """
    Add the operations to an API, with the responses to their errors and the schema of these.

    `options` are those of NinjaAPI.add_router(), such as `tags`. Call it before `api.urls`.
    """
    api.add_router(prefix, router(), **options)
    for kind, handler in HANDLERS.items():
        api.add_exception_handler(kind, handler)
    _document(api)


def _document(api: NinjaAPI) -> None:
    """Let the API's OpenAPI document have the schema that the operations refer to."""
    without = api.get_openapi_schema

    def get_openapi_schema(*args: Any, **options: Any) -> Any:
        return urls.with_problems(without(*args, **options))

    api.get_openapi_schema = get_openapi_schema  # type: ignore[method-assign]
