"""
How Django views hand over to doors: access and the run are theirs, the stream is a consumer's.

The response redirects to the stream, with a ticket. Where the same process serves streams, they
answer the view's request, and no redirect is sent: see eric_sse_django.routing.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from eric_sse_django import stream_urls
from eric_sse_django.authorization import ask_now, authorizer, bound_to, make_ticket
from eric_sse_django.routing import HAND_OVER
from eric_sse_django.runs import storable
from eric_sse_django.runs.doors.door import is_open
from eric_sse_django.runs.models import ACTIVE, TITLE_MAX_LENGTH, Run
from eric_sse_django.runs.paths import path_of
from eric_sse_django.runs.starting import get

# Starts the run that a request asks for; may return a response instead, such as a refusal.
Start = Callable[..., Any]

# Runs of a thread that are read, the newest ones.
MAX_RUNS = 100


def hand_over(request: HttpRequest, run: Run, door: str, **query: Any) -> HttpResponse:
    """
    Return the response by which a view hands over to a run's door. The view has checked access.

    The stream ends when the request's session or user loses access.
    """
    ticket = make_ticket(run.listener.channel, run.listener, **bound_to(request))
    path = path_of(run.id) + (f"{door}/" if door else "")
    to = stream_urls.with_query(path, [ticket], more=[*query.items()])
    headers = {"Location": to, HAND_OVER: "1", "Cache-Control": "no-store"}
    return HttpResponse(status=303, headers=headers)


def started_by(
    start: Start, request: HttpRequest, body: Any, respond: Callable[..., HttpResponse]
) -> HttpResponseBase:
    """Return the response to a request that starts a run, by a project's function."""
    made = async_to_sync(start) if inspect.iscoroutinefunction(start) else start
    found = made(request, body)
    return found if isinstance(found, HttpResponseBase) else respond(request, found)


def body_of(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object of a request's body; raise BadRequest for another one."""
    try:
        body = request.body or b"{}"
        found = json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(found, dict):
        raise BadRequest("The body is not a JSON object.")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON.")


def _finite(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _no_number(text)


# Access -------------------------------------------------------------------------------------


def permitted(request: HttpRequest, run_id: str, thread: str | None = None) -> Run | None:
    """Return the run with this id, of a thread; None if the request's user may not read it."""
    try:
        run = get(run_id)
    except Run.DoesNotExist:
        return None
    is_of = thread is None or run.thread == thread
    return run if is_of and may_read(request, run) else None


def runs_of(request: HttpRequest, thread: str, **where: Any) -> list[Run]:
    """
    Return the newest runs of a thread that the request's user may read, the oldest first.

    `where` are lookups of the query.
    """
    if not is_thread(thread):
        return []
    rows = Run.objects.filter(thread=thread, **where).order_by("-created_at", "-pk")
    user = getattr(request, "user", None)
    # Another user's runs may have the same thread, and be more than are read.
    own = rows.filter(listener__owner=user.pk) if user and user.is_authenticated else rows.none()
    found = {run.pk: run for run in (*own[:MAX_RUNS], *rows[:MAX_RUNS])}
    # Compared again: MariaDB's usual collations ignore the case.
    runs = [run for run in found.values() if run.thread == thread and may_read(request, run)]
    return sorted(runs, key=lambda run: (run.created_at, run.pk))[-MAX_RUNS:]


def is_thread(value: Any) -> bool:
    """Return whether a run can have this thread, which a client sent."""
    is_text = isinstance(value, str) and 0 < len(value) <= TITLE_MAX_LENGTH
    return is_text and storable.is_text(value)


def active_in(request: HttpRequest, thread: str) -> Run | None:
    """Return the newest run of a thread that is_open() and the request's user may read."""
    found = runs_of(request, thread, status__in=[*ACTIVE, Run.Status.LOST.value])
    return next((run for run in reversed(found) if is_open(run)), None)


def may_read(request: HttpRequest, run: Run) -> bool:
    """Return whether the rule `can_listen` gives the request's user access to a run."""
    user = getattr(request, "user", None)
    if user is None:
        raise PermissionDenied("Runs need django.contrib.auth's middleware.")
    return ask_now(authorizer().can_listen, user, run.listener.channel, run.listener)
