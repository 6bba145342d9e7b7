"""The URLs of the test site."""

import asyncio
import gc
import threading

import psutil
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from eric_sse_django.shortcuts import publish


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
            "cpu_s": sum(process.cpu_times()[:2]),
        }
    )


def publishing(request: HttpRequest, channel: str, number: int) -> HttpResponse:
    """Publish a number, from whatever process this is."""
    publish(channel, "number", number)
    return HttpResponse(b"published")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("counters", counters),
    path("publish/<channel>/<int:number>", publishing),
]
