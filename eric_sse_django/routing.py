"""Where streams are in the URL space."""

from __future__ import annotations

from typing import Any

from django.urls import path

from eric_sse_django import conf
from eric_sse_django.consumers import Ids, StreamConsumer
from eric_sse_django.monitor import PATH
from eric_sse_django.monitor.consumer import MonitorConsumer

stream: Any = StreamConsumer.as_asgi()
monitor: Any = MonitorConsumer.as_asgi()

# For a project that composes its own URLRouter of Channels.
urlpatterns = [
    path(PATH, monitor, name="monitor"),
    path("<str:channel_id>/<str:listener_id>/", stream, name="listener"),
    path("<str:channel_id>/", stream, name="watch"),
    path("", stream, name="several"),
]


def with_streams(application: Any) -> Any:
    """
    Return an ASGI application that serves streams below URL_PREFIX, and else `application`.

    In asgi.py: `application = with_streams(get_asgi_application())`.
    """
    prefix: str = "/" + conf.get("URL_PREFIX")

    async def route(scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] != "http" or not (below := _below_root(scope)).startswith(prefix):
            return await application(scope, receive, send)
        if below == prefix + PATH:
            return await MonitorConsumer()(scope, receive, send)
        below = below.removeprefix(prefix)
        ids = _ids(below)
        if below and ids is None:
            return await _not_found(send)
        # The ids not in a copy of the scope, which would be kept with the stream: 1 KiB.
        return await StreamConsumer(ids)(scope, receive, send)

    return route


def _below_root(scope: Any) -> str:
    """Return the path within the application: some servers give it with root_path in front."""
    whole: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return whole.removeprefix(root) if whole.startswith(f"{root}/") else whole


def _ids(below: str) -> Ids | None:
    """Return the ids in "<channel>/<listener>/" or "<channel>/", None for another path."""
    *ids, rest = below.split("/")
    if rest or not 1 <= len(ids) <= 2 or "" in ids:
        return None
    return ids[0], ids[1] if len(ids) == 2 else None


async def _not_found(send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    text = b"Streams are at <channel>/<listener>/, <channel>/ and ?channel=<id>&... here.\n"
    await send({"type": "http.response.body", "body": text})
