"""`{% load eric_runs %}`: a run's output in a page, and what continues it there."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

import eric_sse_django
from eric_sse_django import stream_urls
from eric_sse_django.authorization import bound_to, make_ticket, opens_without_ticket
from eric_sse_django.runs.ends import FAILED_TEXT
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.paths import path_of
from eric_sse_django.runs.reading import read
from eric_sse_django.runs.reaping import reap_one

register = template.Library()

CLIENT = "eric_sse_django/eric-sse.js"
# What a JSON text must not have within a script element.
_ESCAPES = {ord(">"): "\\u003E", ord("<"): "\\u003C", ord("&"): "\\u0026"}


@register.inclusion_tag("eric_sse_runs/run.html", takes_context=True)
def eric_run(context: Any, run: Run) -> dict[str, Any]:
    """
    Render a run's text as far as it is written, and an element that continues it live.

    Values (send()) come to the page as events of the element. If the session gives no access to
    the run, its stream's path has a ticket that is bound to the user and session of the context's
    `request`: show it only to users who may read it.
    """
    reap_one(run)
    texts, values, index = [], [], 0
    for chunk in read(run):
        index = chunk.index + 1
        if chunk.is_text:
            texts.append(chunk.value)
        else:
            values.append(chunk.value)
    found = _element(context, run, index)
    text = "".join(texts).encode(errors="replace").decode()
    return {**found, "has_text": True, "text": text, "values": _script(values) if values else ""}


@register.inclusion_tag("eric_sse_runs/run.html", takes_context=True)
def eric_run_progress(context: Any, run: Run) -> dict[str, Any]:
    """Render a progress bar of a run, without its output, which continues live."""
    reap_one(run)
    return {**_element(context, run, run.next_index), "has_text": False}


def _element(context: Any, run: Run, index: int) -> dict[str, Any]:
    has_failed = run.status == Run.Status.FAILED.value
    client = CLIENT if _has_client() else ""
    return {
        "run": run,
        "src": stream_path(run, context.get("request")),
        "index": index,
        "progress": run.progress,
        "client": client,
        "note": FAILED_TEXT if has_failed else (run.progress or {}).get("text", ""),
        "end": "" if run.is_active else _script(_end_of(run)),
    }


def stream_path(run: Run, request: Any) -> str:
    """Return the path of a run's stream, with a ticket if the session gives no access to it."""
    path = path_of(run.id)
    channel = run.listener.channel
    if opens_without_ticket(request, channel, run.listener):
        return path
    if request is None:
        raise ValueError(
            "eric_run binds its ticket to the session of the request, but the context has no "
            "request: render the template with one."
        )
    ticket = make_ticket(channel.name, run.listener, **bound_to(request))
    return stream_urls.with_query(path, [ticket])


def _end_of(run: Run) -> dict[str, Any]:
    """Return what the event of an ended run has beside its status."""
    if run.status == Run.Status.FINISHED.value:
        return {"result": run.result}
    return {"error": FAILED_TEXT} if run.status == Run.Status.FAILED.value else {}


def _script(value: Any) -> SafeString:
    """Return JSON text for a script element."""
    return mark_safe(json.dumps(value).translate(_ESCAPES))


@cache
def _has_client() -> bool:
    return (Path(eric_sse_django.__file__).parent / "static" / CLIENT).exists()
