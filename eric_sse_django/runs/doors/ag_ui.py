"""
The door of AG-UI: `@ag-ui/client`'s HttpAgent, and the routes of CopilotKit's runtime.

In urls.py, for an agent with `url: "/api/agent"`:

    path("api/agent", ag_ui.view(answer))

and for CopilotKit's `runtimeUrl="/api/copilotkit"`:

    path("api/copilotkit", include(ag_ui.copilotkit({"default": answer})))

where `answer(request, input)` starts a run by ag_ui.start(), enqueues the work, and returns it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from django.core import signing
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_GET, require_POST

from eric_sse_django import __version__
from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.runs import chunks, ending, starting
from eric_sse_django.runs.doors.door import end_of, frame, is_open
from eric_sse_django.runs.doors.handing_over import (
    Start,
    body_of,
    hand_over,
    is_thread,
    runs_of,
    started_by,
)
from eric_sse_django.runs.doors.translation import Event, Part, Translation
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.reading import entries

# Where a run's meta has what the client asked for.
META = "ag_ui"
# Events that open and close a part: their kind, and the field with its id.
OPENS = {
    "TEXT_MESSAGE_START": ("TEXT_MESSAGE_END", "messageId"),
    "TOOL_CALL_START": ("TOOL_CALL_END", "toolCallId"),
    "STEP_STARTED": ("STEP_FINISHED", "stepName"),
    "REASONING_START": ("REASONING_END", "messageId"),
    "REASONING_MESSAGE_START": ("REASONING_MESSAGE_END", "messageId"),
}
CLOSES = dict(OPENS.values())
# Events of the same part that become one: by the field with its id.
DELTAS = {
    "TEXT_MESSAGE_CONTENT": "messageId",
    "REASONING_MESSAGE_CONTENT": "messageId",
    "TOOL_CALL_ARGS": "toolCallId",
}
ENDS = frozenset({"RUN_FINISHED", "RUN_ERROR"})
SALT = "eric_sse_django.runs.before"
LOST_TEXT = "The run was interrupted."


class AgUi(Translation):
    """The events of AG-UI; before them those of earlier runs of the thread, if asked for."""

    def __init__(self, run: Run, request: StreamRequest | None = None) -> None:
        super().__init__(run, request)
        self._asked: Event = run.meta.get(META, {})
        self._before = [] if request is None else _before(run, request)
        self.prepares = bool(self._before)
        self._history = b""

    def prepare(self) -> None:
        rows = Run.objects.filter(pk__in=self._before)
        self._history = history(rows.order_by("created_at", "pk"))

    def opening(self) -> bytes:
        return self._history + super().opening()

    def is_begin(self, event: Event) -> bool:
        return bool(event["type"] == "RUN_STARTED")

    def is_end(self, event: Event) -> bool:
        return event["type"] in ENDS

    def begin(self) -> Event:
        event = {"type": "RUN_STARTED", **self._ids()}
        if "input" in self._asked:
            event["input"] = self._asked["input"]
        return event

    def adapt(self, value: Any) -> Event:
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind and kind.replace("_", "").isupper():
            return dict(value)
        return {"type": "CUSTOM", "name": "value", "value": value}

    def text_part(self) -> Part:
        return ("TEXT_MESSAGE_END", f"{self.run.id}-text")

    def open_text(self) -> Event:
        message_id = self.text_part()[1]
        return {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant"}

    def text(self, text: str, part_id: str) -> Event:
        return {"type": "TEXT_MESSAGE_CONTENT", "messageId": part_id, "delta": text}

    def part(self, event: Event) -> tuple[Part, bool] | None:
        kind = event["type"]
        if kind in OPENS:
            closing, field = OPENS[kind]
            return (closing, str(event.get(field))), True
        return ((kind, str(event.get(CLOSES[kind]))), False) if kind in CLOSES else None

    def close(self, part: Part) -> Event:
        return {"type": part[0], CLOSES[part[0]]: part[1]}

    def end(self, type: str, payload: Event) -> list[Event]:
        if type in (chunks.FAILED, chunks.LOST):
            return [{"type": "RUN_ERROR", "message": payload.get("error") or LOST_TEXT}]
        event = {"type": "RUN_FINISHED", **self._ids()}
        if payload.get("result") is not None:
            event["result"] = payload["result"]
        return [event]

    def progress(self, payload: Event) -> Event | None:
        # Only within the protocol's run.
        if self._first is None or self._finish is not None:
            return None
        return {"type": "CUSTOM", "name": "progress", "value": payload}

    def _ids(self) -> Event:
        thread = self._asked.get("threadId") or self.run.thread or self.run.id
        return {"threadId": thread, "runId": self._asked.get("runId") or self.run.id}


def _before(run: Run, request: StreamRequest) -> list[int]:
    """Return the keys of the earlier runs that the view has allowed: see connect()."""
    for text in request.query("before"):
        with suppress(signing.BadSignature):
            of, keys = signing.loads(text, salt=SALT)
            if of == run.pk:
                return list(keys)
    return []


def history(runs: Iterable[Run]) -> bytes:
    """Return all events of ended runs, with deltas joined. Queries the log."""
    found: list[Event] = []
    for run in runs:
        door, end = AgUi(run), end_of(run)
        for entry in entries(run):
            found += door.of_chunks(chunks.chunks_of(entry))
            if entry.type in chunks.ENDS:
                end = entry.type, json.loads(entry.payload)
        found += door.of_end(*end)
    return b"".join(map(frame, joined(found)))


def joined(events: Iterable[Event]) -> list[Event]:
    """Return events where those that follow each other and add to one part are one."""
    found: list[Event] = []
    for event in events:
        field = DELTAS.get(event["type"])
        last = found[-1] if found else {}
        if field and (last.get("type"), last.get(field)) == (event["type"], event.get(field)):
            found[-1] = {**last, "delta": last["delta"] + event["delta"]}
        else:
            found.append(event)
    return found


# Starting -----------------------------------------------------------------------------------


def start(request: HttpRequest, input: Event, **options: Any) -> Run:
    """
    Return the run that a RunAgentInput asks for; the same one for the same `runId`, if the
    request has a user or a session.

    It belongs to the request's user and to the input's thread. `options` are those of
    runs.start(). Its meta has the messages that the thread did not have before.
    """
    thread, run_id = str(input["threadId"]), str(input["runId"])
    user = getattr(request, "user", None)
    owner = user if user is not None and user.is_authenticated else None
    known = {
        str(message.get("id"))
        for run in runs_of(request, thread)
        for message in run.meta.get(META, {}).get("input", {}).get("messages", ())
    }
    messages = [
        message
        for message in input.get("messages", ())
        if message.get("role") in ("user", "tool", "system", "developer")
        and str(message.get("id")) not in known
    ]
    kept = {"threadId": thread, "runId": run_id, "input": {**input, "messages": messages}}
    meta = {**(options.pop("meta", None) or {}), META: kept}
    session = getattr(request, "session", None)
    # Another visitor who knows both ids does not get the run.
    who = getattr(session, "session_key", None) if owner is None else owner.pk
    key = None if who is None else f"ag-ui {who} {thread} {run_id}"
    options = {"owner": owner, "kind": "agent", "thread": thread, "key": key, **options}
    run: Run = starting.start(meta=meta, **options)
    return run


def input_in(body: Event) -> Event | None:
    """Return a RunAgentInput, None if it is not one."""
    has_ids = all(is_thread(body.get(name)) for name in ("threadId", "runId"))
    messages = body.get("messages", [])
    is_list = isinstance(messages, list) and all(isinstance(each, dict) for each in messages)
    return body if has_ids and is_list else None


# Views --------------------------------------------------------------------------------------


def view(start: Start) -> Any:
    """Return the view of an HttpAgent's `url`; `start(request, input)` returns the run."""

    @require_POST
    def run(request: HttpRequest) -> HttpResponseBase:
        return _started(start, request, body_of(request))

    return run


def respond(request: HttpRequest, run: Run) -> HttpResponse:
    """Return the response of a view that has started a run: its events, from the first on."""
    return hand_over(request, run, "ag-ui")


def connect(request: HttpRequest, thread: str) -> HttpResponse:
    """Return all events of a thread so far, then those of its active run as they come."""
    runs = runs_of(request, thread)
    active = next((run for run in reversed(runs) if is_open(run)), None)
    before = [run for run in runs if run is not active and not run.is_active]
    if active is not None:
        keys = signing.dumps([active.pk, [run.pk for run in before]], salt=SALT, compress=True)
        return hand_over(request, active, "ag-ui", **({"before": keys} if before else {}))
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(history(before), content_type="text/event-stream", headers=headers)


def _started(start: Start, request: HttpRequest, body: Event) -> HttpResponseBase:
    found = input_in(body)
    if found is None:
        return JsonResponse({"error": "The body is not a RunAgentInput."}, status=400)
    return started_by(start, request, found, respond)


# CopilotKit -----------------------------------------------------------------------------------


def copilotkit(agents: Mapping[str, Start]) -> tuple[list[URLPattern | URLResolver], str]:
    """
    Return the URLs of a CopilotKit runtime, by agents: `start(request, input)` returns the run.

    A description of an agent is its function's docstring. Both of CopilotKit's transports are
    served: one URL for each method, and one for all.
    """
    routes = _CopilotKit(agents)
    below = [
        path("info", require_GET(routes.info), name="info"),
        path("agent/<str:agent>/run", require_POST(routes.run), name="run"),
        path("agent/<str:agent>/connect", require_POST(routes.connect), name="connect"),
        path("agent/<str:agent>/stop/<str:thread>", require_POST(routes.stop), name="stop"),
    ]
    single = path("", require_POST(routes.single), name="single")
    # A path that begins with a slash and does not end with one is a warning (urls.W002).
    patterns: list[URLPattern | URLResolver] = [single, path("/", include(below))]
    return patterns, "eric_copilotkit"


class _CopilotKit:
    def __init__(self, agents: Mapping[str, Start]) -> None:
        self._agents = dict(agents)

    def info(self, request: HttpRequest) -> HttpResponse:
        agents = {
            name: {
                "name": name,
                "description": (start.__doc__ or "").strip().partition("\n")[0],
                "className": "DjangoAgent",
            }
            for name, start in self._agents.items()
        }
        info = {
            "version": __version__,
            "agents": agents,
            "audioFileTranscriptionEnabled": False,
            "mode": "sse",
            "suggestions": False,
            "a2uiEnabled": False,
            "openGenerativeUIEnabled": False,
            "telemetryDisabled": True,
        }
        return JsonResponse(info)

    def run(self, request: HttpRequest, agent: str, body: Event | None = None) -> HttpResponseBase:
        if agent not in self._agents:
            return _no_agent(agent)
        body = body_of(request) if body is None else body
        return _started(self._agents[agent], request, body)

    def connect(
        self, request: HttpRequest, agent: str, body: Event | None = None
    ) -> HttpResponseBase:
        if agent not in self._agents:
            return _no_agent(agent)
        body = body_of(request) if body is None else body
        return connect(request, str(body.get("threadId", "")))

    def stop(
        self, request: HttpRequest, agent: str, thread: str, body: Event | None = None
    ) -> HttpResponseBase:
        """Stop the thread's active run; only the one with the body's `runId`, if it has that."""
        if agent not in self._agents:
            return _no_agent(agent)
        body = body_of(request) if body is None else body
        wanted = body.get("runId")
        for run in reversed(runs_of(request, thread)):
            its_id = run.meta.get(META, {}).get("runId") or run.id
            if is_open(run) and wanted in (None, its_id) and ending.stop(run):
                event = {"type": "RUN_ERROR", "message": "Run stopped by user", "code": "STOPPED"}
                return JsonResponse({"stopped": True, "interrupt": event})
        return JsonResponse({"stopped": False, "message": "No such run is active."})

    def single(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the transport that has one URL: the body names the method."""
        envelope = body_of(request)
        params, body = _object_in(envelope, "params"), _object_in(envelope, "body")
        agent = str(params.get("agentId", ""))
        match envelope.get("method"):
            case "info":
                return self.info(request)
            case "agent/run":
                return self.run(request, agent, body)
            case "agent/connect":
                return self.connect(request, agent, body)
            case "agent/stop":
                return self.stop(request, agent, str(params.get("threadId", "")), body)
        return JsonResponse({"error": "Unknown method."}, status=400)


def _object_in(envelope: Event, name: str) -> Event:
    found = envelope.get(name) or {}
    if not isinstance(found, dict):
        raise BadRequest(f"{name!r} is not a JSON object.")
    return found


def _no_agent(agent: str) -> HttpResponse:
    error = {"error": "Agent not found", "message": f"Agent '{agent}' does not exist"}
    return JsonResponse(error, status=404)
