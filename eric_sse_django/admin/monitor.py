"""The page of the live monitor. Its data comes as a stream: see eric_sse_django.monitor."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from eric_sse_django import stream_urls
from eric_sse_django.admin.base import APP, EricAdmin
from eric_sse_django.models import Listener, Monitor, QueuedMessage
from eric_sse_django.monitor import PATH


@admin.register(Monitor)
class MonitorAdmin(EricAdmin):
    """Shows one page instead of a list."""

    class Media:
        css = {"all": ["eric_sse_django/monitor.css"]}

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.changelist_view)
        return [
            path("", page, name=f"{APP}_monitor"),
            path("", page, name=f"{APP}_monitor_changelist"),  # the link of the admin's index
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        events = stream_urls.root() + PATH
        links = {
            "message": self._link(request, QueuedMessage),
            "listener": self._link(request, Listener),
        }
        context: dict[str, Any] = {"events": events, "links": links, "is_only_page": True}
        context |= {"cards": cards(), "texts": texts(), **(extra_context or {})}
        return self.page(request, "monitor.html", _("Live monitor"), **context)

    def _link(self, request: HttpRequest, model: Any) -> str:
        """Return the URL of the page of object 0, "" if the user may not view the model."""
        registered = self.admin_site._registry.get(model)
        if registered is None or not registered.has_view_permission(request):
            return ""
        return self.url(model, "change", 0)


def cards() -> list[dict[str, Any]]:
    """Return the charts, each with the numbers of a snapshot that it draws, and their labels."""
    return [
        {"name": "published", "label": _("Published / s"), "series": [("published_per_s", "")]},
        {"name": "delivered", "label": _("Delivered / s"), "series": [("delivered_per_s", "")]},
        {"name": "streams", "label": _("Open streams"), "series": [("streams", "")]},
        {
            "name": "delay",
            "label": _("Delivery delay"),
            "series": [("delay_p50_ms", _("median")), ("delay_p99_ms", _("99 %"))],
        },
        {"name": "waiting", "label": _("Waiting messages"), "series": [("waiting", "")]},
    ]


def texts() -> dict[str, str]:
    """Return the texts of the page's script in the user's language; {n} is a placeholder."""
    return {
        "connecting": _("connecting"),
        "live": _("live"),
        "silent": _("no data for {n} s"),
        "lost": _("connection lost, reconnecting"),
        "closed": _("closed by the server: reload this page"),
        "now": _("now"),
        "everyone": _("everyone"),
        "all_of": _("all listeners of {n}"),
        "skipped": _("{n} more messages, too many to show"),
        "pause": _("Pause"),
        "resume": _("Resume"),
        "new": _("{n} new"),
        "none_match": _("No message matches the filter."),
        "no_messages": _("No messages yet."),
        "no_streams": _("No open streams."),
        "watcher": _("1 watcher"),
        "watchers": _("{n} watchers"),
        "no_processes": _("No server process has an open stream."),
        "some_streams": _("{n} of {all} shown."),
        "chart": _("{name}, last two minutes: now {now}, highest {highest}"),
        "summary": _(
            "{published} published and {delivered} delivered per second, {streams} open streams, "
            "{waiting} messages waiting, median delay {delay}."
        ),
        "unknown": _("unknown"),
    }
