"""
The door of `@ai-sdk/workflow`: its WorkflowChatTransport reconnects where its chunks end.

In urls.py, for a transport with `api: "/api/chat"`:

    path("api/chat", include(workflow.urls(answer)))

POST answers with the run's id in `x-workflow-run-id`; GET `<run>/stream?startIndex=<n>` begins at
the n-th chunk, and with a negative number at the n-th last, of those that there are.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_GET, require_POST

from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.runs.doors.ai_sdk import AiSdk
from eric_sse_django.runs.doors.door import Headers, end_of, number_in
from eric_sse_django.runs.doors.handing_over import (
    Start,
    body_of,
    hand_over,
    permitted,
    started_by,
)
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.reading import read


class Workflow(AiSdk):
    """The chunks of the AI SDK, each write alone, so that they can be counted."""

    joins = False
    # It opens the next stream at once, whether this one was cut or ended in order.
    is_cut = False

    def __init__(self, run: Run, request: StreamRequest | None = None) -> None:
        super().__init__(run, request, max(0, number_in(request, "startIndex") or 0))
        self.headers: Headers = [*AiSdk.headers, (b"x-workflow-run-id", run.id.encode())]
        if (tail := number_in(request, "tail")) is not None:
            self.headers = [*self.headers, (b"x-workflow-stream-tail-index", b"%d" % tail)]

    def progress(self, payload: Any) -> None:  # type: ignore[override]
        """Send none: the client counts what it gets."""

    def count(self) -> int:
        """Return how many chunks there are now. Queries the log."""
        count = sum(1 for _ in self.of_chunks(read(self.run)))
        if not self.run.has_ended:
            return count
        return count + sum(1 for _ in self.of_end(*end_of(self.run)))


def urls(start: Start) -> tuple[list[URLPattern | URLResolver], str]:
    """Return the URLs for a transport's `api`; `start(request, body)` returns the run."""

    @require_POST
    def post(request: HttpRequest) -> HttpResponseBase:
        return started_by(start, request, body_of(request), respond)

    below = [path("<str:run_id>/stream", resume, name="resume")]
    # A path that begins with a slash and does not end with one is a warning (urls.W002).
    patterns: list[URLPattern | URLResolver] = [
        path("", post, name="send"),
        path("/", include(below)),
    ]
    return patterns, "eric_workflow"


def respond(request: HttpRequest, run: Run, start_index: int = 0) -> HttpResponse:
    """Return the response of a view that has started a run: its chunks, from an index on."""
    if start_index >= 0:
        return hand_over(request, run, "workflow", startIndex=start_index)
    count = Workflow(run).count()
    first = max(0, count + start_index)
    return hand_over(request, run, "workflow", startIndex=first, tail=count - 1)


@require_GET
def resume(request: HttpRequest, run_id: str) -> HttpResponse:
    """Hand over to a run, from `?startIndex=` on; 404 if the user may not read it."""
    run = permitted(request, run_id)
    if run is None:
        return HttpResponse("There is no such run.\n", status=404, content_type="text/plain")
    text = request.GET.get("startIndex", "0")
    is_number = text.removeprefix("-").isdecimal() and len(text) < 19
    return respond(request, run, int(text) if is_number else 0)
