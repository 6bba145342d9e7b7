"""The site with all ways, under ASGI."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from benchmarks.runs import kept_in_redis
from benchmarks.runs.tokens import tokens
from eric_sse_django.routing import with_streams

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.runs.settings")


async def direct(
    request: HttpRequest, start_at: str, count: int, per_s: str
) -> StreamingHttpResponse:
    """Produce tokens, and keep nothing."""

    async def produced() -> AsyncIterator[bytes]:
        yield b": connected\n\n"
        async for text in tokens(float(start_at), count, float(per_s)):
            yield f"data: {json.dumps({'text': text})}\n\n".encode()
        yield b"data: DONE\n\n"

    return _response(produced())


async def redis(request: HttpRequest, id: str) -> StreamingHttpResponse:
    """Stream what a worker keeps in Redis."""
    return _response(kept_in_redis.read(kept_in_redis.connection(), id))


def _response(events: AsyncIterator[bytes]) -> StreamingHttpResponse:
    headers = {"Cache-Control": "no-cache"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=headers)


urlpatterns = [
    path("direct/<start_at>/<int:count>/<per_s>", direct),
    path("redis/<id>", redis),
]
application = with_streams(get_asgi_application())
