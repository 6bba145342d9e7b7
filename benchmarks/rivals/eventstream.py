"""django-eventstream: its streams, and the harness's addresses."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()

from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django_eventstream import send_event  # noqa: E402 - models need the line above

from benchmarks.insert import insert  # noqa: E402
from benchmarks.payload import publish_all  # noqa: E402


def prepare(request: HttpRequest, name: str, listeners: int) -> HttpResponse:
    # From the first event on: messages published earlier wait for the readers.
    return JsonResponse([f"/events/{name}/?lastEventId={name}:0"] * listeners, safe=False)


def publish(
    request: HttpRequest, name: str, how: str, first: int, count: int, size: int, per_s: str
) -> HttpResponse:
    def one(text: str) -> None:
        send_event(name, "tick", text)

    return HttpResponse(repr(publish_all(one, first, count, size, float(per_s))))


urlpatterns = [
    path("prepare/<str:name>/<int:listeners>", prepare),
    path("publish/<str:name>/<str:how>/<int:first>/<int:count>/<int:size>/<str:per_s>", publish),
    path("insert/<int:count>/<int:size>", insert),
    path(
        "events/<str:name>/", include("django_eventstream.urls"), {"format-channels": ["{name}"]}
    ),
]
