"""The page, the URLs of its streams, and its two forms."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from demo_project.channels import INBOX, VITALS, overview, visitor_name
from demo_project.forms import BroadcastForm, DispatchForm
from eric_sse_django.database import DatabaseListener
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import cursor, listen, publish, streams_url, watch_url

# Earlier samples in a new chart: one per second, and a few more.
VITALS_HISTORY = 100
# Earlier messages in the inbox.
INBOX_HISTORY = 200


@require_safe
@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """The page. It contains its state as JSON, and receives changes over SSE."""
    listener = my_listener(request)
    # The cursor first: messages published during the other queries arrive as events.
    state = stream_urls(request, listener)
    state["notes"] = notes(listener, state["head"])
    state["loads"] = loads(state["head"])
    state["listeners"] = overview()
    state["client"] = static("eric_sse_django/eric-sse.js")
    context = {"listener": listener.id, "state": state, "command": command()}
    return render(request, "demo_project/page.html", context)


@require_safe
@never_cache
def streams(request: HttpRequest) -> JsonResponse:
    """The stream URLs with new tickets, for a page whose tickets have expired."""
    return JsonResponse(stream_urls(request, my_listener(request)))


@require_POST
def dispatch(request: HttpRequest) -> JsonResponse:
    """Publish to one listener."""
    form = DispatchForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    listener_id = form.cleaned_data["listener"]
    note = make_note(request, form.cleaned_data["text"], to=listener_id)
    try:
        publish(INBOX, "note", note, listener_id=listener_id)
    except InvalidListenerException:
        unknown = f"There is no listener {listener_id!r}: choose one from the list."
        return JsonResponse({"errors": {"listener": [unknown]}}, status=400)
    return JsonResponse({"sent": note}, status=201)


@require_POST
def broadcast(request: HttpRequest) -> JsonResponse:
    """Publish to all listeners: one row, whatever their number."""
    form = BroadcastForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    note = make_note(request, form.cleaned_data["text"], to=None)
    publish(INBOX, "note", note)
    return JsonResponse({"sent": note}, status=201)


def my_listener(request: HttpRequest) -> DatabaseListener:
    """Return the listener of this browser's session. A logged-in user owns it."""
    owner = request.user if request.user.is_authenticated else None
    owner_pk, name = request.session.get("listener", (None, None))
    if name is None or owner_pk != (owner and owner.pk):
        owner_pk, name = owner and owner.pk, visitor_name()
        request.session["listener"] = [owner_pk, name]
    return listen(INBOX, owner=owner, listener_id=name)


def stream_urls(request: HttpRequest, listener: DatabaseListener) -> dict[str, Any]:
    """
    Return the URLs of the page's streams: of both channels (online), or only the vitals (offline).

    `head` is the position to continue after: the page contains all messages up to it.
    """
    return {
        "me": listener.id,
        "head": cursor(),
        "online": streams_url([(VITALS, None), (INBOX, listener)], request),
        "offline": watch_url(VITALS, request=request),
    }


def notes(listener: DatabaseListener, head: int) -> list[dict[str, Any]]:
    """Return the messages up to a head, oldest first. `missed` ones have not been served yet."""
    row = listener.row
    to_all = Q(listener=None, owner=None)
    mine = Q(listener=row) | (Q(owner=row.owner_id) if row.owner_id else Q())
    found = QueuedMessage.objects.filter(
        to_all | mine,
        channel=row.channel_id,
        type="note",
        position__gt=row.start,
        position__lte=head,
    ).order_by("-position")[:INBOX_HISTORY]
    return [
        {
            "position": message.position,
            "payload": json.loads(message.payload),
            "missed": (message.position or 0) > row.cursor,
        }
        for message in reversed(found)
    ]


def loads(head: int) -> list[Any]:
    """Return the samples of a new chart, oldest first."""
    found = QueuedMessage.objects.filter(
        channel__name=VITALS, type="load", position__lte=head
    ).order_by("-position")
    return [json.loads(text) for text in found.values_list("payload", flat=True)[:VITALS_HISTORY]][
        ::-1
    ]


def command() -> str:
    """Return a shell command that publishes a message."""
    words = [sys.executable, str(settings.BASE_DIR / "manage.py"), "eric_publish", "inbox", "note"]
    line = shlex.join([*words, json.dumps({"text": "Hello from a shell"})])
    chosen = os.environ.get("DEMO_DATABASE")
    return f"DEMO_DATABASE={shlex.quote(os.path.abspath(chosen))} {line}" if chosen else line


def make_note(request: HttpRequest, text: str, to: str | None) -> dict[str, Any]:
    """Return a payload. It may be any JSON value."""
    return {
        "text": text,
        "from": my_listener(request).id,
        "to": to,
        "at": timezone.now().isoformat(),
    }
