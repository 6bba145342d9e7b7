"""
The door of the AI SDK: `ai` with its DefaultChatTransport, and useChat() with `resume`.

In urls.py, for a transport with `api: "/api/chat"`:

    path("api/chat", include(ai_sdk.urls(answer)))

where `answer(request, body)` starts a run with `thread=body["id"]`, enqueues the work, and returns
the run. POST then answers with the run's events, GET `<chat>/stream` resumes, and
POST `<chat>/stop` stops.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_GET, require_POST

from eric_sse_django.runs import chunks
from eric_sse_django.runs.doors.door import Headers
from eric_sse_django.runs.doors.handing_over import (
    Start,
    active_in,
    body_of,
    hand_over,
    permitted,
    started_by,
)
from eric_sse_django.runs.doors.translation import Event, Part, Translation
from eric_sse_django.runs.ending import stop

# The part of a message that text written with `out.write()` is in.
TEXT: Part = ("text", "text")
# Types of chunks that the client knows, beside `data-<name>`.
TYPES = frozenset(
    {
        *("start", "finish", "abort", "error", "message-metadata"),
        *("start-step", "finish-step", "reset-step", "steering-message"),
        *("text-start", "text-delta", "text-end"),
        *("reasoning-start", "reasoning-delta", "reasoning-end", "reasoning-file"),
        *("tool-input-start", "tool-input-delta", "tool-input-available", "tool-input-error"),
        *("tool-approval-request", "tool-approval-response"),
        *("tool-output-available", "tool-output-error", "tool-output-denied"),
        *("source-url", "source-document", "file", "custom"),
    }
)
LOST_TEXT = "The answer was interrupted."


class AiSdk(Translation):
    """The UI message stream: a chunk of it is an event here. A message's id is the run's."""

    headers: Headers = ((b"x-vercel-ai-ui-message-stream", b"v1"),)

    def is_begin(self, event: Event) -> bool:
        return bool(event["type"] == "start")

    def is_end(self, event: Event) -> bool:
        return bool(event["type"] == "finish")

    def begin(self) -> Event:
        return {"type": "start", "messageId": self.run.id}

    def adapt(self, value: Any) -> Event:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or not (kind in TYPES or kind.startswith("data-")):
            return {"type": "data-value", "data": value}
        if kind == "start" and not value.get("messageId"):
            return {**value, "messageId": self.run.id}
        return dict(value)

    def text_part(self) -> Part:
        return TEXT

    def open_text(self) -> Event:
        return {"type": "text-start", "id": TEXT[1]}

    def text(self, text: str, part_id: str) -> Event:
        return {"type": "text-delta", "id": part_id, "delta": text}

    def part(self, event: Event) -> tuple[Part, bool] | None:
        kind, _, what = event["type"].rpartition("-")
        if kind in ("text", "reasoning") and what in ("start", "end"):
            return (kind, str(event.get("id"))), what == "start"
        return None

    def close(self, part: Part) -> Event:
        return {"type": f"{part[0]}-end", "id": part[1]}

    def end(self, type: str, payload: Event) -> list[Event]:
        # Without `finishReason`, which earlier versions of the client refuse.
        finish = {"type": "finish"}
        if type == chunks.STOPPED:
            return [{"type": "abort"}, finish]
        if type == chunks.FINISHED:
            return [finish]
        text = payload.get("error") or LOST_TEXT
        return [{"type": "error", "errorText": text}, finish]

    def progress(self, payload: Event) -> Event:
        # Transient: for onData(), and in no message.
        return {"type": "data-progress", "data": payload, "transient": True}

    def farewell(self) -> bytes:
        return b"data: [DONE]\n\n"


# Views ------------------------------------------------------------------------------------


def urls(start: Start) -> tuple[list[URLPattern | URLResolver], str]:
    """Return the URLs for a transport's `api`; `start(request, body)` returns the run."""

    @require_POST
    def post(request: HttpRequest) -> HttpResponseBase:
        return started_by(start, request, body_of(request), respond)

    below = [
        path("<str:chat_id>/stream", resume, name="resume"),
        path("<str:chat_id>/stop", stop_chat, name="stop"),
    ]
    # A path that begins with a slash and does not end with one is a warning (urls.W002).
    patterns: list[URLPattern | URLResolver] = [
        path("", post, name="send"),
        path("/", include(below)),
    ]
    return patterns, "eric_ai_sdk"


def respond(request: HttpRequest, run: Any) -> HttpResponse:
    """Return the response of a view that has started a run: its events, from the first on."""
    return hand_over(request, run, "ai-sdk")


@require_GET
def resume(request: HttpRequest, chat_id: str) -> HttpResponse:
    """
    Hand over to the active run of a chat; 204 if there is none.

    With `?run=<id>` to that run, also if it has ended: for a client that has its beginning.
    """
    run_id = request.GET.get("run")
    run = permitted(request, run_id, chat_id) if run_id else active_in(request, chat_id)
    return HttpResponse(status=204) if run is None else respond(request, run)


@require_POST
def stop_chat(request: HttpRequest, chat_id: str) -> HttpResponse:
    """Stop the run that the body names, `{"run": <id>}`: never the one that followed it."""
    run_id = body_of(request).get("run")
    if not isinstance(run_id, str):
        return JsonResponse({"error": 'Send {"run": <the id of the message>}.'}, status=400)
    run = permitted(request, run_id, chat_id)
    if run is None:
        return JsonResponse({"error": "There is no such run."}, status=404)
    return JsonResponse({"stopped": stop(run)})
