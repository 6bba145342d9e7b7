"""Where streams are in the URL space."""

from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import path

from eric_sse_django import conf
from eric_sse_django.consumers import StreamConsumer

urlpatterns = [
    path("<str:channel_id>/<str:listener_id>/", StreamConsumer.as_asgi(), name="listener"),
    path("<str:channel_id>/", StreamConsumer.as_asgi(), name="watch"),
]


def with_streams(application: Any) -> Any:
    """
    Return an ASGI application that serves streams below URL_PREFIX, and else `application`.

    In asgi.py: `application = with_streams(get_asgi_application())`.
    """
    prefix: str = "/" + conf.get("URL_PREFIX")
    streams = URLRouter([path(prefix.lstrip("/"), URLRouter(urlpatterns))])

    async def route(scope: Any, receive: Any, send: Any) -> Any:
        below = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not below.startswith(prefix):
            return await application(scope, receive, send)
        try:
            return await streams(scope, receive, send)
        except ValueError:
            # URLRouter's "No route found": an address below the prefix with no stream.
            return await _not_found(send)

    return route


async def _not_found(send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    text = b"Streams are at <channel>/<listener>/ and <channel>/ here.\n"
    await send({"type": "http.response.body", "body": text})
