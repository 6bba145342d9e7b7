"""The publisher's address: the work is done in the server's process, as for the bare app."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from eric_sse_django.message import Message
from eric_sse_django.shortcuts import channel

# Messages of one transaction when publishing flat out.
BATCH = 500


def publish(request: HttpRequest, first: int, count: int, size: int) -> HttpResponse:
    ticks = channel("ticks")
    messages = [Message("tick", "x" * size) for _ in range(count)]
    for start in range(0, count, BATCH):
        ticks.broadcast_many(messages[start : start + BATCH])
    return HttpResponse("ok")


urlpatterns = [path("publish/<int:first>/<int:count>/<int:size>", publish)]
