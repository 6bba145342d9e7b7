"""
The ASGI application of streams, and their URL patterns.

asgi.py may import this before Django is set up: what needs models is imported when
with_streams() is called, or with the first request if Django is not ready by then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from django.apps import apps
from django.conf import settings
from django.urls import path

from eric_sse_django import conf, stream_urls
from eric_sse_django.monitor import PATH

if TYPE_CHECKING:
    from eric_sse_django.consumers import Ids

Headers = list[tuple[bytes, bytes]]
# Returns the application for what follows in a path, None for nothing there. It also gets the
# headers of a response that handed over to it.
Mounted = Callable[[str, Headers], Any]

# A view hands over to a stream by a redirect to it with this header. Where this process serves
# streams it answers the same request; else the client follows the redirect.
HAND_OVER = "x-eric-stream"
# Headers of such a response that are not of the stream's.
NOT_HANDED_OVER = frozenset(
    {
        *(b"location", b"cache-control", HAND_OVER.encode()),
        *(b"content-length", b"content-type", b"content-encoding"),
    }
)

# By the first part of a path below the streams' prefix.
_mounted: dict[str, Mounted] = {}


def mount(name: str, application: Mounted) -> None:
    """Serve what is below `name`, below the streams' prefix: for an app, when it is ready."""
    _mounted[name] = application


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
            if scope["type"] == "http" and _mounted:
                return await _hand_over(application, prefix, scope, receive, send)
            return await application(scope, receive, send)
        if (mounted := _mounted_at(below.removeprefix(prefix), [])) is not None:
            return await mounted(scope, receive, send)
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
        *(path(f"{name}/<path:rest>", partial(_serve_mounted, name)) for name in _mounted),
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


# What other apps serve ------------------------------------------------------------------


def _mounted_at(below: str, handed_over: Headers) -> Any:
    """Return the application of another app for a path below the prefix, None if it has none."""
    name, _, rest = below.partition("/")
    make = _mounted.get(name)
    return None if make is None else make(rest, handed_over)


async def _serve_mounted(name: str, scope: Any, receive: Any, send: Any) -> Any:
    made = _mounted[name](scope["url_route"]["kwargs"]["rest"], [])
    return await (_not_found(send) if made is None else made(scope, receive, send))


async def _hand_over(application: Any, prefix: str, scope: Any, receive: Any, send: Any) -> Any:
    """Call the project's application; serve the stream that its response hands over to."""
    headers: Headers | None = None

    async def watch(message: Any) -> None:
        nonlocal headers
        if message["type"] == "http.response.start" and message["status"] == 303:
            found = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
            if any(name == HAND_OVER.encode() for name, _ in found):
                headers = found
        if headers is None:
            await send(message)

    await application(scope, receive, watch)
    if headers is not None:
        location = next(value for name, value in headers if name == b"location")
        to = _redirected(scope, location.decode("latin-1"))
        kept = [pair for pair in headers if pair[0] not in NOT_HANDED_OVER]
        below = _below_root(to).removeprefix(prefix)
        await (_mounted_at(below, kept) or _not_found_at)(to, receive, send)


def _redirected(scope: Any, location: str) -> Any:
    """
    Return the scope of the request that follows a redirect.

    Without the page's origin: the view has checked where the request comes from.
    """
    url = urlsplit(location)
    dropped = {b"origin", b"sec-fetch-site", b"content-type", b"content-length", b"accept"}
    return {
        **scope,
        "method": "GET",
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [pair for pair in scope["headers"] if pair[0].lower() not in dropped],
    }


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


async def _not_found_at(scope: Any, receive: Any, send: Any) -> None:
    await _not_found(send)


async def _not_found(send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    text = b"Streams are at <channel>/<listener>/, <channel>/ and ?channel=<id>&... here.\n"
    await send({"type": "http.response.body", "body": text})
