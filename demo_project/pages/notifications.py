"""Notifications: unread until they are acknowledged, on all tabs and devices; and toasts."""

import json

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from demo_project.pages.shown import shown
from demo_project.views import my_listener
from eric_sse_django.database import DatabaseListener, DatabaseQueue
from eric_sse_django.shortcuts import channel, listen, publish, streams_url

TOAST_S = 6


def listeners(request: HttpRequest) -> tuple[DatabaseListener, DatabaseListener]:
    name = my_listener(request).id
    notices = listen("notices", listener_id=name, acknowledgement="client")
    return notices, listen("toasts", listener_id=name)


@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    notices, toasts = listeners(request)
    # Without a cursor: the stream begins with all that is unread.
    stream = streams_url([("notices", notices), ("toasts", toasts)], request)
    files = ["notifications.py", "notifications.html", "notifications.js"]
    return shown(request, "notifications", files, listener=notices, stream=stream)


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    if "toast" in request.POST:
        publish("toasts", "toast", {"text": "Saved."}, expires_in_s=TOAST_S)
    else:
        publish("notices", "notice", {"text": request.POST["text"][:200]})
    return HttpResponse(status=204)


@require_POST
def read(request: HttpRequest) -> HttpResponse:
    """Acknowledge up to a position, and notify the other pages of this visitor."""
    notices, toasts = listeners(request)
    position, unread = json.loads(request.body)["position"], len(DatabaseQueue(notices.row))
    channel("notices").acknowledge(notices.id, position)
    notices.row.refresh_from_db()
    if len(DatabaseQueue(notices.row)) != unread:
        publish("toasts", "read", position, listener_id=toasts.id, expires_in_s=TOAST_S)
    return HttpResponse(status=204)
