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
# The parts of an event that contain URLs.
WITH_URLS = ("request", "breadcrumbs", "spans", "contexts", "logentry", "extra", "tags")


def scrub(event: dict[str, Any], hint: Any = None) -> dict[str, Any]:
    """
    Return an event of Sentry without payloads and tickets, as `before_send` returns it.

    It removes the variables of this app's functions and of what these call, the bodies of requests
    that publish by this app's views or failed in this app, and the values of `ticket` in URLs. The
    variables of the functions that call this app stay: see Sentry's `include_local_variables`.
    """
    is_own = False
    for frames in _stacks(event):
        is_within = False
        for frame in frames:  # the outermost first
            is_within = is_within or _is_own(frame)
            if is_within:
                frame.pop("vars", None)
        is_own = is_own or is_within
    request = event.get("request")
    if isinstance(request, dict) and (is_own or _publishes(request.get("url"))):
        request.pop("data", None)
    for name in WITH_URLS:
        if name in event:
            event[name] = _without_tickets(event[name])
    return event


def _stacks(event: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    for part in ("exception", "threads"):
        for value in (event.get(part) or {}).get("values") or ():
            yield (value.get("stacktrace") or {}).get("frames") or []
    yield (event.get("stacktrace") or {}).get("frames") or []


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
