"""
The door of celery-progress: its script polls a URL for JSON, and moves a bar.

In urls.py: `path("progress/<str:run_id>/", celery_progress.view, name="progress")`. In the page:
`CeleryProgressBar.initProgressBar("{% url "progress" run.id %}")`.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from eric_sse_django.runs.doors.door import is_open
from eric_sse_django.runs.doors.handing_over import permitted
from eric_sse_django.runs.ends import FAILED_TEXT
from eric_sse_django.runs.models import Run

Status = Run.Status
COMPLETE = {"pending": False, "current": 100, "total": 100, "percent": 100}
# What Celery calls the state of such a task.
STATES = {
    Status.FINISHED.value: "SUCCESS",
    Status.FAILED.value: "FAILURE",
    Status.STOPPED.value: "REVOKED",
    Status.LOST.value: "FAILURE",
}
TEXTS = {
    Status.FAILED.value: FAILED_TEXT,
    Status.STOPPED.value: "The run was stopped.",
    Status.LOST.value: "The run was interrupted.",
}


@never_cache
@require_GET
def view(request: HttpRequest, run_id: str) -> HttpResponse:
    """Return a run's progress; 404 for a run that the user may not read."""
    run = permitted(request, run_id)
    if run is None:
        return JsonResponse({"error": "There is no such run."}, status=404)
    return JsonResponse(progress_of(run))


def progress_of(run: Run) -> dict[str, Any]:
    """Return a run's progress as celery-progress has it."""
    if is_open(run):
        found = {"state": "PENDING" if run.status == Status.WAITING.value else "PROGRESS"}
        return {**found, "complete": False, "success": None, "progress": _bar(run)}
    found = {"state": STATES[run.status]}
    if run.status == Status.FINISHED.value:
        return {
            **found,
            "complete": True,
            "success": True,
            "progress": COMPLETE,
            "result": run.result,
        }
    return {
        **found,
        "complete": True,
        "success": False,
        "progress": _bar(run),
        "result": TEXTS[run.status],
    }


def _bar(run: Run) -> dict[str, Any]:
    known = run.progress or {}
    done, total = known.get("done") or 0, known.get("total") or 0
    return {
        "pending": run.status == Status.WAITING.value,
        "current": done,
        "total": total or 100,
        "percent": round(100 * min(1, done / total), 2) if total else 0,
        "description": known.get("text", ""),
    }
