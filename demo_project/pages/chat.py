"""The chat: lines are rows of a table, which publishes them. Typing and presence are not rows."""

from typing import Any

from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from demo_project.pages.models import Line
from demo_project.pages.shown import shown
from demo_project.views import my_listener
from eric_sse_django.shortcuts import channel, cursor, listen, publish, streams_url
from eric_sse_django.signals import listener_joined, listener_left

TYPING_S = 3


@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    name = my_listener(request).id
    me = listen("room", listener_id=name)
    head = cursor()  # before the lines: later ones come by the stream
    context = {
        "me": name,
        "lines": reversed(Line.objects.order_by("-pk")[:50]),
        "online": online(),
        # One stream, which all tabs of this browser share.
        "stream": streams_url([("chat", None), ("room", me)], request, cursor=head),
    }
    return shown(request, "chat", ["chat.py", "models.py", "chat.html", "chat.js"], **context)


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    author = my_listener(request).id
    Line.objects.create(author=author, text=request.POST["text"][:200])  # and it is published
    return HttpResponse(status=204)


@require_POST
def typing(request: HttpRequest) -> HttpResponse:
    """Pages, and the log, forget it after some seconds."""
    author = my_listener(request).id
    publish("room", "typing", {"author": author, "for_s": TYPING_S}, expires_in_s=TYPING_S)
    return HttpResponse(status=204)


@receiver([listener_joined, listener_left])
def changed(sender: Any, listener: Any, **kwargs: Any) -> None:
    if listener.channel.name == "room":
        publish("room", "online", online())


def online() -> list[str]:
    return sorted(listener.id for listener in channel("room").online())
