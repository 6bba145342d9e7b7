"""
Sentry: events without payloads and tickets.

    import sentry_sdk
    from eric_sse_django.contrib.sentry import scrub

    sentry_sdk.init(before_send=scrub, before_send_transaction=scrub)

This app logs no payloads. But Sentry adds to an event the local variables of each function, the
body of the request, and its query string: there are payloads and tickets in them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.urls import Resolver404, resolve

PACKAGE = "eric_sse_django"
FILTERED = "[Filtered]"
# A stream's URL has one for each channel: whoever has it can open the stream.
TICKET = re.compile(r"\b(ticket=)[^&\s\"'#]+")
# The namespace of the HTTP API's URLs, and the modules of views whose bodies are messages.
NAMESPACE = "eric_sse_api"
VIEWS = (f"{PACKAGE}.api.", f"{PACKAGE}.contrib.drf.")
# What PostgreSQL adds to an error: the values of a row that it refuses.
DETAIL = re.compile(r"\bDETAIL:.*", re.DOTALL)


def scrub(event: dict[str, Any], hint: Any = None) -> dict[str, Any]:
    """
    Return an event of Sentry without payloads and tickets, as `before_send` returns it.

    It removes the variables of this app's functions and of what these call, the bodies of requests
    that publish by this app's views or failed in this app, and the values of `ticket` in URLs. The
    exceptions that caused one of this app's are scrubbed too: that of a database's driver, whose
    stack begins below this app, has the statement's parameters among its variables. The
    variables of the functions that call this app stay: see Sentry's `include_local_variables`.
    """
    is_own = _scrub_exceptions(event)
    for frames in _other_stacks(event):
        is_own = _scrub_frames(frames) or is_own
    request = event.get("request")
    if isinstance(request, dict) and (is_own or _publishes(request.get("url"))):
        request.pop("data", None)
    for name, value in event.items():
        event[name] = _without_tickets(value)
    return event


def _scrub_exceptions(event: dict[str, Any]) -> bool:
    """Scrub an exception and its causes; return whether this app's functions are in a stack."""
    is_own = False
    for value in reversed(_values(event, "exception")):  # the causes come after what they caused
        frames = _frames(value)
        if _scrub_frames(frames):
            is_own = True
        elif is_own:
            for frame in frames:
                frame.pop("vars", None)
        if is_own and isinstance(value.get("value"), str):
            value["value"] = DETAIL.sub(f"DETAIL: {FILTERED}", value["value"])
    return is_own


def _scrub_frames(frames: list[dict[str, Any]]) -> bool:
    """Scrub this app's frames and what they call; return whether there are any."""
    is_within = False
    for frame in frames:  # the outermost first
        is_within = is_within or _is_own(frame)
        if is_within:
            frame.pop("vars", None)
    return is_within


def _other_stacks(event: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    yield from map(_frames, _values(event, "threads"))
    yield _frames(event)


def _values(event: dict[str, Any], part: str) -> list[dict[str, Any]]:
    return list((event.get(part) or {}).get("values") or ())


def _frames(value: dict[str, Any]) -> list[dict[str, Any]]:
    return (value.get("stacktrace") or {}).get("frames") or []


def _is_own(frame: dict[str, Any]) -> bool:
    return f"{frame.get('module') or ''}.".startswith(f"{PACKAGE}.")


def _publishes(url: Any) -> bool:
    """Return whether a URL is of a view of this app, to which messages are posted."""
    try:
        match = resolve(urlsplit(str(url)).path)
    except (Resolver404, ValueError):
        return False
    if NAMESPACE in match.app_names:
        return True
    view = getattr(match.func, "cls", match.func)  # of Django REST framework
    return f"{getattr(view, '__module__', '')}.".startswith(VIEWS) or _is_mounted(match.func)


def _is_mounted(view: Any) -> bool:
    """Return whether a view of django-ninja is of this app's operations, in a project's API."""
    if not inspect.isfunction(view):
        return False
    operations = getattr(inspect.getclosurevars(view).nonlocals.get("self"), "operations", ())
    return any(getattr(each.view_func, "__module__", "").startswith(VIEWS) for each in operations)


def _without_tickets(value: Any) -> Any:
    if isinstance(value, str):
        return TICKET.sub(rf"\1{FILTERED}", value)
    if isinstance(value, dict):
        return {key: _without_tickets(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tickets(each) for each in value]
    return value
