"""
The ASGI application of streams, and their URL patterns.

asgi.py may import this before Django is set up: what needs models is imported when
with_streams() is called, or with the first request if Django is not ready by then.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.urls import path

from eric_sse_django import conf, stream_urls
from eric_sse_django.monitor import PATH

if TYPE_CHECKING:
    from eric_sse_django.consumers import Ids


def with_streams(application: Any) -> Any:
    """
    Return an ASGI application that serves streams below URL_PREFIX, and else calls `application`.

    In asgi.py: `application = with_streams(get_asgi_application())`.
    """
    prefix: str = "/" + conf.get("URL_PREFIX")
    stream_urls.set_mounted()
    if apps.ready:
        _consumers()

    async def route(scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] != "http" or not (below := _below_root(scope)).startswith(prefix):
            return await application(scope, receive, send)
        stream, monitor = _consumers()
        if below == prefix + PATH:
            return await monitor()(scope, receive, send)
        below = below.removeprefix(prefix)
        ids = _ids(below)
        if below and ids is None:
            return await _not_found(send)
        # Not in a copy of the scope, which would be kept while the stream is open: 1 KiB.
        return await stream(ids)(scope, receive, send)

    return route


async def stream(scope: Any, receive: Any, send: Any) -> Any:
    """The ASGI application of streams, for a router that finds the ids in the path."""
    return await _consumers()[0]()(scope, receive, send)


async def monitor(scope: Any, receive: Any, send: Any) -> Any:
    """The ASGI application of the monitor."""
    return await _consumers()[1]()(scope, receive, send)


def __getattr__(name: str) -> Any:
    if name != "urlpatterns":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # For a project that builds its own URLRouter of Channels.
    stream_urls.set_mounted()
    return [
        path(PATH, monitor, name="monitor"),
        path("<str:channel_id>/<str:listener_id>/", stream, name="listener"),
        path("<str:channel_id>/", stream, name="watch"),
        path("", stream, name="several"),
    ]


@cache
def _consumers() -> tuple[Any, Any]:
    """Return the consumers of streams and of the monitor. They need models."""
    from eric_sse_django.consumers import StreamConsumer  # noqa: PLC0415 - see the module's
    from eric_sse_django.monitor.consumer import MonitorConsumer  # noqa: PLC0415

    return StreamConsumer, MonitorConsumer


def _below_root(scope: Any) -> str:
    """
    Return the path without FORCE_SCRIPT_NAME, as Django does, else without root_path.

    Some servers include root_path in the path, and some do not.
    """
    whole: str = scope["path"]
    root: str = (settings.FORCE_SCRIPT_NAME or scope.get("root_path") or "").rstrip("/")
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
