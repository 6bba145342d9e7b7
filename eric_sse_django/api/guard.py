"""What is checked before a request is parsed, and the last net under an operation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase

from eric_sse_django import conf
from eric_sse_django.api.problem import Problem

logger = logging.getLogger(__name__)

# Bytes of a request's body beside its payloads, for each message: type, address, brackets.
ENVELOPE_BYTES = 4_096
# The one operation whose body holds many messages.
BATCH = "publish_batch"


def guarded(view: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
    """Return the view, answering with problems only. Keeps its attributes (csrf_exempt)."""

    @wraps(view)
    def guard(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = view(request, *args, **kwargs)
        except Problem as problem:
            return problem.response()
        except Exception as error:  # noqa: BLE001 - the one place where the unexpected ends
            return unexpected(request, error)
        if response.status_code == 405:
            return _not_allowed(request, response.headers["Allow"])
        return response

    return guard


def unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return what a caller learns of an error of ours: nothing. The log has it."""
    logger.error(
        "an API request failed method=%s path=%.200r", request.method, request.path, exc_info=error
    )
    # For who listens to Django's signal, as error trackers and its test client do.
    got_request_exception.send(sender=None, request=request)
    detail = "It is in the server's log. Nothing was published."
    return Problem(500, detail).response()


def check_body(request: HttpRequest) -> None:
    """
    Raise a Problem for a body that is too large, by its headers, or that is not JSON.

    After the method and the caller were looked at, before anything is parsed.
    """
    most = most_bytes(request)
    told = request.headers.get("Content-Length") or "0"
    if not (told.isascii() and told.isdigit()):
        raise Problem(400, "Content-Length is no number.", {"Content-Length": "no number"})
    if int(told[:20]) > most:
        raise _too_large(most)
    try:
        size = len(request.body)
    except RequestDataTooBig:
        raise _too_large("DATA_UPLOAD_MAX_MEMORY_SIZE") from None
    except UnreadablePostError:
        raise Problem(400, "The body ended early.") from None
    if size > most:
        raise _too_large(most)
    if size and request.content_type != "application/json":
        raise Problem(
            415,
            "Send JSON, with Content-Type: application/json.",
            {"Content-Type": "not application/json"},
            {"Accept": "application/json"},
        )


def most_bytes(request: HttpRequest) -> int:
    """Return how many bytes the request's body may take."""
    match = request.resolver_match
    is_batch = match is not None and match.url_name == BATCH
    messages = conf.get("MAX_BATCH_MESSAGES") if is_batch else 1
    return int(messages * (conf.get("MAX_MESSAGE_BYTES") + ENVELOPE_BYTES))


def _too_large(most: int | str) -> Problem:
    return Problem(
        413,
        f"The body may take {most} bytes here: send less at a time, or raise the limit.",
        {"body": "too large"},
    )


def _not_allowed(request: HttpRequest, allow: str) -> HttpResponse:
    detail = f"Use one of {allow}."
    return Problem(405, detail, {"method": "not one of these"}, {"Allow": allow}).response()
