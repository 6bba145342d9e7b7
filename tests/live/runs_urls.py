"""The URLs of the live tests' site with runs: all doors, and pages of their clients."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.views import serve
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.urls import include, path

from eric_sse_django import runs
from eric_sse_django.runs.doors import ag_ui, ai_sdk, celery_progress, workflow
from eric_sse_django.runs.models import Run
from tests.urls import urlpatterns as others

PAGE = """<!doctype html><meta charset=utf-8><title>A page</title>
<input type=hidden name=csrfmiddlewaretoken value={token}><div id=root></div>
<div id=progress-bar></div><div id=progress-bar-message></div><div id=celery-result></div>
<script src=/script/{script}></script>"""


def answer(request: HttpRequest, body: dict[str, Any]) -> Run:
    """Start a run; the question is its words and the seconds between two: see runs_worker."""
    question = body["messages"][-1]["parts"][0]["text"]
    return runs.start(
        request.user, "answer", thread=str(body.get("id", "")), meta=meta_of(question)
    )


def agent(request: HttpRequest, input: dict[str, Any]) -> Run:
    """Writes as many words as it is asked for."""
    return ag_ui.start(request, input, meta=meta_of(input["messages"][-1]["content"]))


def meta_of(question: str) -> dict[str, Any]:
    words, pause_s, *held_at = question.split()
    meta = {"words": int(words), "pause_s": float(pause_s)}
    return {**meta, "held_at": int(held_at[0])} if held_at else meta


def page(request: HttpRequest, script: str) -> HttpResponse:
    return HttpResponse(PAGE.format(token=get_token(request), script=script))


def element(request: HttpRequest, run_id: str) -> HttpResponse:
    """Render a run as far as it is, and what continues it."""
    text = "<!doctype html><meta charset=utf-8><title>A run</title>{% load eric_runs %}"
    listen = "document.addEventListener('run-end', (event) => { window.end = event.detail; });"
    text += f"{{% eric_run run %}}<script type=module>{listen}</script>"
    template = engines["django"].from_string(text)
    return HttpResponse(template.render({"run": runs.get(run_id, request.user)}, request))


def script(request: HttpRequest, name: str) -> HttpResponse:
    text = (Path(os.environ["ERIC_SSE_TEST_SCRIPTS"]) / Path(name).name).read_bytes()
    return HttpResponse(text, content_type="text/javascript")


urlpatterns = [
    *others,
    path("page/<str:script>", page),
    path("script/<str:name>", script),
    path("run/<str:run_id>", element),
    path("static/<path:path>", serve, {"insecure": True}),
    path("api/chat", include(ai_sdk.urls(answer))),
    path("api/workflow", include(workflow.urls(answer))),
    path("api/agent", ag_ui.view(agent)),
    path("api/copilotkit", include(ag_ui.copilotkit({"default": agent}))),
    path("progress/<str:run_id>/", celery_progress.view),
]
