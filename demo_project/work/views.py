"""The page of runs: it starts them, stops them, and hands over to their streams."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from demo_project.forms import BroadcastForm
from demo_project.work.channel import STARTED, my_listener, notify
from demo_project.work.producing import ANSWER, EXPORT, file_of
from demo_project.work.supervisor import Supervisor
from eric_sse_django import runs
from eric_sse_django.runs import Run
from eric_sse_django.runs.doors import handing_over
from eric_sse_django.shortcuts import cursor, stream_url

# Answers in a page: each opens a stream, one after the other.
MAX_ANSWERS = 8
BUSY = "One answer at a time: wait for its end, or stop it."


@require_safe
@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """The page, with its state as JSON."""
    state = state_of(request)
    state["client"] = static("eric_sse_django/eric-sse.js")
    return render(request, "demo_project/work.html", {"state": state})


@require_safe
@never_cache
def state(request: HttpRequest) -> JsonResponse:
    """The state again, for a page whose ticket has expired."""
    return JsonResponse(state_of(request))


@require_POST
def ask(request: HttpRequest) -> JsonResponse:
    """Start an answer. The worker finds it in the database."""
    form = BroadcastForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    if any(run.is_active for run in my_runs(request, ANSWER)):
        return JsonResponse({"errors": {"text": [BUSY]}}, status=400)
    return started(request, ANSWER, form.cleaned_data["text"], {})


@require_POST
def export(request: HttpRequest) -> JsonResponse:
    """Start an export of the log, or return the one that has not ended."""
    active = next((run for run in my_runs(request, EXPORT) if run.is_active), None)
    if active is not None:
        return JsonResponse({"sent": described(active)}, status=201)
    return started(request, EXPORT, "log.csv", {"head": cursor()})


@require_POST
def stop(request: HttpRequest, run_id: str) -> JsonResponse:
    return JsonResponse({"stopped": runs.stop(my_run(request, run_id))})


@require_POST
def kill(request: HttpRequest) -> JsonResponse:
    """SIGKILL the worker. The supervisor starts another one."""
    supervisor = Supervisor.current
    return JsonResponse({"killed": None if supervisor is None else supervisor.kill()})


@require_safe
def stream(request: HttpRequest, run_id: str) -> HttpResponse:
    """The stream of one of the session's runs, for its element."""
    return handing_over.hand_over(request, my_run(request, run_id), "")


@require_safe
def download(request: HttpRequest, run_id: str) -> HttpResponse:
    run = my_run(request, run_id)
    if run.kind != EXPORT or run.status != Run.Status.FINISHED.value:
        raise Http404
    # As a whole: under ASGI Django would read a FileResponse into memory, too, and warn of it.
    headers = {"Content-Disposition": 'attachment; filename="log.csv"'}
    return HttpResponse(file_of(run).read_bytes(), content_type="text/csv", headers=headers)


# The session's runs -----------------------------------------------------------------------


def state_of(request: HttpRequest) -> dict[str, Any]:
    """Return the session's runs, the worker, and the URL of what changes them."""
    listener = my_listener(request)
    head = cursor()
    found = [*my_runs(request, ANSWER)[:MAX_ANSWERS][::-1], *my_runs(request, EXPORT)[:1]]
    supervisor = Supervisor.current
    return {
        "runs": [described(run) for run in found],
        "worker": None if supervisor is None else supervisor.state(),
        "stream": stream_url(listener, request=request, cursor=head),
        "head": head,
    }


def my_runs(request: HttpRequest, kind: str) -> list[Run]:
    """Return the session's runs of a kind, the newest first."""
    thread = my_listener(request).id
    return list(Run.objects.filter(thread=thread, kind=kind).order_by("-pk")[:MAX_ANSWERS])


def my_run(request: HttpRequest, run_id: str) -> Run:
    try:
        run = runs.get(run_id)
    except Run.DoesNotExist:
        raise Http404 from None
    if run.thread != request.session.get("work"):
        raise Http404
    return run


def started(request: HttpRequest, kind: str, title: str, meta: dict[str, Any]) -> JsonResponse:
    """Start a run, and show it in all tabs of the session."""
    thread = my_listener(request).id
    run = runs.start(kind=kind, title=title, thread=thread, meta=meta)
    notify(thread, STARTED, described(run))
    return JsonResponse({"sent": described(run)}, status=201)


def described(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "title": run.title,
        "created": run.created_at.isoformat(),
        "ended": run.has_ended,
    }
