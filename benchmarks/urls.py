"""The harness's addresses on this app's server; every server under test has the same."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from benchmarks.insert import insert
from benchmarks.payload import payload, publish_all
from eric_sse_django import shortcuts
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import channel, listen, stream_url

# Messages of one call of broadcast_many().
BATCH = 1_000


def prepare(request: HttpRequest, name: str, listeners: int) -> HttpResponse:
    """Create a channel and its listeners; return the paths of their streams."""
    with transaction.atomic():
        channel(name)
        made = [listen(name, listener_id=f"l{number}") for number in range(listeners)]
    return JsonResponse([stream_url(listener, ticket=True) for listener in made], safe=False)


def publish(
    request: HttpRequest, name: str, how: str, first: int, count: int, size: int, per_s: str
) -> HttpResponse:
    """Publish to all, one call each or many in one; or only to the first listener."""
    target = channel(name)

    def one(text: str) -> None:
        if how == "dispatch":
            target.dispatch("l0", Message("tick", text))
        else:
            shortcuts.publish(name, "tick", text)

    def many(text: str) -> None:
        begin = int(text[1:].split(" ", 1)[0])
        numbers = range(begin, min(begin + BATCH, first + count))
        target.broadcast_many([Message("tick", payload(number, size)) for number in numbers])

    if how == "many":
        seconds = sum(
            publish_all(many, begin, 1, size, 0) for begin in range(first, first + count, BATCH)
        )
    else:
        seconds = publish_all(one, first, count, size, float(per_s))
    return HttpResponse(repr(seconds))


urlpatterns = [
    path("prepare/<str:name>/<int:listeners>", prepare),
    path("publish/<str:name>/<str:how>/<int:first>/<int:count>/<int:size>/<str:per_s>", publish),
    path("insert/<int:count>/<int:size>", insert),
]
