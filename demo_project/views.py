"""The page, the addresses of its streams, and the two forms."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from demo_project.channels import INBOX, VITALS, overview, visitor_name
from demo_project.forms import BroadcastForm, DispatchForm
from eric_sse_django.database import DatabaseListener
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.models import LogHead, QueuedMessage
from eric_sse_django.shortcuts import listen, publish, stream_url, watch_url

# Messages of the past that a fresh chart starts with: one a second, and some to spare.
VITALS_HISTORY = 100


@require_safe
@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """The whole page. Its state is in it as JSON; what changes comes by SSE."""
    listener = my_listener(request)
    # The overview after the head: what changes in between comes as an event after it.
    state = {**addresses(listener), "listeners": overview()}
    context = {"listener": listener.id, "state": state}
    return render(request, "demo_project/page.html", context)


@require_safe
@never_cache
def streams(request: HttpRequest) -> JsonResponse:
    """The streams' addresses with fresh tickets, for a page whose own are past their time."""
    return JsonResponse(addresses(my_listener(request)))


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
        unknown = f"There is no listener {listener_id!r}: choose one of the list."
        return JsonResponse({"errors": {"listener": [unknown]}}, status=400)
    return JsonResponse({"sent": note}, status=201)


@require_POST
def broadcast(request: HttpRequest) -> JsonResponse:
    """Publish to all listeners: one row, however many they are."""
    form = BroadcastForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    note = make_note(request, form.cleaned_data["text"], to=None)
    publish(INBOX, "note", note)
    return JsonResponse({"sent": note}, status=201)


def my_listener(request: HttpRequest) -> DatabaseListener:
    """Return the listener of this browser's session; a user who is logged in owns it."""
    owner = request.user if request.user.is_authenticated else None
    whose, name = request.session.get("listener", (None, None))
    if name is None or whose != (owner and owner.pk):
        whose, name = owner and owner.pk, visitor_name()
        request.session["listener"] = [whose, name]
    return listen(INBOX, owner=owner, listener_id=name)


def addresses(listener: DatabaseListener) -> dict[str, Any]:
    """Return what the page opens; `head` tells it later what is a replay and what is live."""
    heads = LogHead.objects.filter(pk=LogHead.THE_ONE).values_list("position", flat=True)
    return {
        "me": listener.id,
        "inbox": stream_url(listener, ticket=True),
        "vitals": watch_url(VITALS),
        "vitals_from": vitals_from(),
        "head": heads.first() or 0,
    }


def vitals_from() -> int:
    """Return the position after which the chart's history begins."""
    positions = QueuedMessage.objects.filter(
        channel__name=VITALS, listener=None, owner=None, position__isnull=False
    ).order_by("-position")
    return positions.values_list("position", flat=True)[VITALS_HISTORY:].first() or 0


def make_note(request: HttpRequest, text: str, to: str | None) -> dict[str, Any]:
    """Return the payload: any JSON value will do."""
    return {
        "text": text,
        "from": my_listener(request).id,
        "to": to,
        "at": timezone.now().isoformat(),
    }
