"""A listener's page: what waits, what went out, its streams, and buttons."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from eric_sse_django import conf, reports
from eric_sse_django.admin.base import APP
from eric_sse_django.admin.facts import facts_beside
from eric_sse_django.admin.operations import BY_NAME, OPERATIONS, Operation
from eric_sse_django.admin.sending import SendsMessages
from eric_sse_django.admin.words import age, preview, since
from eric_sse_django.database import DatabaseListener
from eric_sse_django.models import Listener, OpenStream, QueuedMessage, with_user
from eric_sse_django.shortcuts import stream_url

# Messages of each kind, and streams, that the page shows.
MOST_SHOWN = 20


class ListenerPage(SendsMessages):
    """What ListenerAdmin shows of one listener."""

    readonly_fields = (
        "online",
        "state",
        "owner_link",
        "queue",
        "oldest",
        "seen",
        "cursor",
        "start",
        "floor",
        "created_at",
        "channel_link",
    )

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request, "operate_listener")

    def has_sign_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request, "sign_listener")

    def get_urls(self) -> list[URLPattern]:
        def named(pattern: str, view: Any, name: str) -> URLPattern:
            wrapped = self.admin_site.admin_view(view)
            url: URLPattern = path(
                f"<path:object_id>/{pattern}", wrapped, name=f"{APP}_listener_{name}"
            )
            return url

        return [
            named("operate/<str:operation>/", self.operate_view, "operate"),
            named("send/", self.send_view, "send"),
            named("stream-url/", self.stream_url_view, "stream_url"),
            *super().get_urls(),
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ["channel", "name", "owner", "running", "acknowledgement"]})]
        now = [("online", "state"), ("queue", "oldest", "seen"), ("channel_link", "owner_link")]
        positions = ["created_at", "start", "cursor", "floor", "acknowledgement"]
        return [
            (None, {"fields": now}),
            (gettext_lazy("Position in the log"), {"fields": positions, "classes": ["collapse"]}),
        ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return with_user(super().get_queryset(request).select_related("channel"), "owner")

    @admin.display(description=gettext_lazy("owner"), empty_value="-")
    def owner_link(self, row: Listener) -> Any:
        return self.link(row.owner) if row.owner else None

    @admin.display(description=gettext_lazy("channel"))
    def channel_link(self, row: Listener) -> Any:
        return self.link(row.channel)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context["original"] is not None:
            context.update(self.around(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def around(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what stands around the fields: buttons, messages and streams."""
        may_read = self.allowed(request, "view_queuedmessage")
        waiting, served = reports.around(row, MOST_SHOWN) if may_read else ([], [])
        online = OpenStream.objects.online().filter(listener=row)
        online = online.select_related("process").order_by("-opened_at")
        streams = list(online[: MOST_SHOWN + 1])
        if len(streams) <= MOST_SHOWN:  # then they need not be counted
            row._facts = facts_beside(streams, row)
        return {
            "tools": self.tools(request, row),
            "may_read": may_read,
            "waiting": [self.row_of(message) for message in waiting],
            "served": [self.row_of(message) for message in served],
            "streams": [(stream, since(stream.opened_at)) for stream in streams[:MOST_SHOWN]],
        }

    def row_of(self, message: QueuedMessage) -> dict[str, Any]:
        """Return what the page's tables show of a message."""
        return {
            "message": message,
            "payload": preview(message.payload),
            "age": age(message.created_at),
            "url": self.url(message, "change", message.pk),
        }

    def tools(self, request: HttpRequest, row: Listener) -> list[dict[str, Any]]:
        """Return the links above a listener's page: each leads to a page with one button."""

        def tool(label: Any, page: str, *args: Any, is_careful: bool = False) -> dict[str, Any]:
            url = self.url(row, page, row.pk, *args)
            return {"label": label, "url": url, "is_careful": is_careful}

        offered = [op for op in OPERATIONS if op.name != ("start" if row.running else "stop")]
        if not self.has_operate_permission(request):
            offered = []
        found = [tool(op.label, "operate", op.name, is_careful=op.asks) for op in offered]
        if self.has_publish_permission(request):
            found.append(tool(_("Send a message"), "send"))
        if self.has_sign_permission(request):
            found.append(tool(_("New stream URL"), "stream_url"))
        return found

    def operate_view(
        self, request: HttpRequest, object_id: str, operation: str
    ) -> HttpResponseBase:
        """Ask, then do one of OPERATIONS to this listener, and go back to its page."""
        row = self.found(request, object_id, self.has_operate_permission(request))
        if row is None or operation not in BY_NAME:
            return self.gone(request, object_id)
        what = BY_NAME[operation]
        if request.method != "POST":
            return self.confirm(request, what.label, what.effect, [row])
        self.operate(request, what, [row])
        return redirect(self.url_of(row))

    def operate(self, request: HttpRequest, operation: Operation, rows: list[Listener]) -> None:
        """Do it, write it to their histories, and say how many it changed."""
        count = operation.run(rows)
        self.record(request, rows, operation.past)
        text = operation.done % {"count": count}
        if 0 < count < len(rows):
            others = _("There was nothing to do for the others.")
            text = f"{text} {others}"
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    def send_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Write a message to this listener."""
        row = self.found(request, object_id, self.has_publish_permission(request))
        if row is None:
            return self.gone(request, object_id)
        return self.send_to(request, [row], self.url_of(row)) or redirect(self.url_of(row))

    def stream_url_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Ask, then show a signed URL once: it is kept nowhere, for it opens the stream."""
        row = self.found(request, object_id, self.has_sign_permission(request))
        if row is None:
            return self.gone(request, object_id)
        if request.method != "POST":
            effect = _("Whoever has the URL receives the messages of this listener.")
            return self.confirm(request, _("New stream URL"), effect, [row])
        expires_at = timezone.now() + timedelta(seconds=conf.get("TICKET_MAX_AGE_S"))
        url = request.build_absolute_uri(stream_url(DatabaseListener(row), ticket=True))
        self.record(request, [row], _("Made a signed stream URL."))
        context = {"url": url, "expires_at": expires_at}
        # Not cached: no page of the admin is.
        return self.page(request, "stream_url.html", _("Stream URL"), row, **context)

    def url_of(self, row: Listener) -> str:
        return self.url(row, "change", row.pk)
