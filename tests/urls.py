"""The URLs of the test site."""

import asyncio
import gc
import threading
import time
from typing import Any

import psutil
from django.contrib import admin
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, include, path

from eric_sse_django.shortcuts import publish

queries = 0


def count(run: Any, *args: Any) -> Any:
    """Count one query, and execute it."""
    global queries
    queries += 1
    return run(*args)


def count_queries(connection: Any, **_: object) -> None:
    """Count what the connection executes from now on. Connected to connection_created."""
    # A connection that reconnects keeps its wrappers: a second one would stay at each query.
    if count not in connection.execute_wrappers:
        connection.execute_wrappers.append(count)


connection_created.connect(count_queries)


async def counters(request: HttpRequest) -> JsonResponse:
    """Return what this process holds. Tests compare it before and after."""
    gc.collect()
    process = psutil.Process()
    return JsonResponse(
        {
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "files": process.num_fds(),
            "memory": process.memory_info().rss,
            "queries": queries,
        }
    )


def when(request: HttpRequest) -> HttpResponse:
    """Return the time of day of this process."""
    return HttpResponse(str(time.time()))


def publishing(request: HttpRequest, channel: str, number: int) -> HttpResponse:
    """Publish a number, from whatever process this is."""
    publish(channel, "number", number)
    return HttpResponse(b"published")


urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("counters", counters),
    path("health/", include("eric_sse_django.health.urls")),
    path("metrics/", include("eric_sse_django.metrics.urls")),
    path("when", when),
    path("publish/<channel>/<int:number>", publishing),
]
