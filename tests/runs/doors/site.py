"""The URLs of a site with all doors: its runs are produced by the test."""

from typing import Any

from django.http import HttpRequest
from django.urls import include, path

from eric_sse_django import runs
from eric_sse_django.runs.doors import ag_ui, ai_sdk, celery_progress, workflow
from eric_sse_django.runs.models import Run


def answer(request: HttpRequest, body: dict[str, Any]) -> Run:
    return runs.start(owner=request.user, kind="answer", thread=body["id"])


def agent(request: HttpRequest, input: dict[str, Any]) -> Run:
    """Answers."""
    return ag_ui.start(request, input)


urlpatterns = [
    path("api/chat", include(ai_sdk.urls(answer))),
    path("api/workflow", include(workflow.urls(answer))),
    path("api/agent", ag_ui.view(agent)),
    path("api/copilotkit", include(ag_ui.copilotkit({"default": agent}))),
    path("progress/<str:run_id>/", celery_progress.view),
]
