"""The inbox: what is sent while a visitor is offline waits for the visitor."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from demo_project.pages.shown import shown
from demo_project.views import make_note, my_listener, notes
from eric_sse_django.shortcuts import cursor, publish


@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    head = cursor()  # before the messages: later ones come by the stream
    listener = my_listener(request)
    context = {"cursor": head, "listener": listener, "notes": notes(listener, head)}
    return shown(request, "inbox", ["inbox.py", "inbox.html", "inbox.js"], **context)


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """Send a message to this visitor: a row of the log, served when the visitor is there."""
    listener = my_listener(request)
    note = make_note(request, request.POST["text"][:200], to=listener.id)
    publish("inbox", "note", note, listener_id=listener.id)
    return HttpResponse(status=204)
