"""
Two URLs, for liveness and for readiness, and the views behind them.

    path("health/", include("eric_sse_django.health.urls"))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from eric_sse_django.health.parts import PARTS, examine

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def read_only(view: View) -> View:
    """
    Return the view for GET and HEAD only, never cached, and without a transaction.

    With ATOMIC_REQUESTS on any database, the view would fail while that one is unavailable.
    """
    safe = never_cache(require_safe(view))
    for alias in connections:
        safe = transaction.non_atomic_requests(alias)(safe)
    return safe


@read_only
def live(request: HttpRequest) -> JsonResponse:
    """Answer 200: the process handles requests. Checks nothing else."""
    return JsonResponse({"live": True})


@read_only
def ready(request: HttpRequest) -> JsonResponse:
    """
    Answer 200 if each part works, 503 if one does not, within TIMEOUT_S.

    `?exclude=layer` skips a part; 400 for an unknown one.
    """
    excluded = request.GET.getlist("exclude")
    unknown = sorted(set(excluded) - set(PARTS))
    if unknown:
        error = f"There is no part {unknown[0]!r}: exclude {', '.join(PARTS)}."
        return JsonResponse({"error": error}, status=400)
    parts = examine([name for name in PARTS if name not in excluded])
    is_ready = all(part.works for part in parts)
    states = {part.name: {"works": part.works, "says": part.says} for part in parts}
    response = JsonResponse({"ready": is_ready, "parts": states}, status=200 if is_ready else 503)
    # Django would log every 503 as an error, and mail it to the admins: one for each probe.
    # examine() logs a failure once.
    vars(response)["_has_been_logged"] = True
    return response


app_name = "eric_sse_health"

urlpatterns = [
    path("live/", live, name="live"),
    path("ready/", ready, name="ready"),
]
