"""The admin of channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, QuerySet, Subquery, Sum, Value
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from eric_sse_django import conf, reports
from eric_sse_django.admin.base import APP
from eric_sse_django.admin.deleting import DeletesChannels
from eric_sse_django.admin.lists import FactList
from eric_sse_django.admin.sending import SendsMessages
from eric_sse_django.admin.words import MOST, at_least, bounded, duration, pill
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, LogHead, OpenStream, QueuedMessage, Watchers


@dataclass
class Facts:
    """What a list of channels shows beside their rows."""

    online: int
    listeners: int
    watchers: int
    hour: str
    day: str


def facts_of(channels: Iterable[Channel], head: int | None = None) -> dict[int, Facts]:
    """Return the facts of the channels, by primary key. Three queries, one more for the head."""
    keys = [channel.pk for channel in channels]
    online, watchers = _open_now(keys)
    listeners, lately = reports.count_listeners(keys, MOST), reports.recent_traffic(head)
    return {
        key: Facts(
            online.get(key, 0),
            listeners.get(key, 0),
            watchers.get(key, 0),
            at_least(lately.hour.get(key, 0), lately.hour_stops),
            at_least(lately.day.get(key, 0), lately.day_stops),
        )
        for key in keys
    }


def _open_now(keys: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return how many listeners are online, and how many streams watch, by channel. One query."""
    streams = OpenStream.objects.online().filter(listener__channel__in=keys)
    online = streams.values_list("listener__channel").annotate(
        number=Count("listener", distinct=True), kind=Value("online")
    )
    rows = Watchers.objects.online().filter(channel__in=keys)
    watching = rows.values_list("channel").annotate(number=Sum("streams"), kind=Value("watching"))
    found: dict[str, dict[int, int]] = {"online": {}, "watching": {}}
    for channel, number, kind in online.union(watching, all=True):
        found[kind][channel] = number
    return found["online"], found["watching"]


class ChannelList(FactList):
    """A page of channels with their listeners and traffic."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        # Read with the rows: a query less.
        head = LogHead.objects.filter(pk=LogHead.THE_ONE).values("position")
        found = super().get_queryset(request, *args, **kwargs)
        with_head: QuerySet[Any] = found.annotate(head=Subquery(head))
        return with_head

    def facts_of(self, rows: Sequence[Any]) -> dict[int, Facts]:
        return facts_of(rows, rows[0].head or 0) if rows else {}


SETTINGS = ["name", "access", "format", "retention_s", "expires_in_s"]


@admin.register(Channel)
class ChannelAdmin(DeletesChannels, SendsMessages):
    """Creates, shows, broadcasts to and deletes channels; their ids stay as they are."""

    list_display = (
        "name",
        "listeners",
        "watchers",
        "hour",
        "day",
        "access",
        "retention",
        "format",
    )
    search_fields = ("name__startswith",)
    search_help_text = gettext_lazy("The first characters of a channel's id.")
    ordering = ("name",)
    sortable_by = ("name",)
    readonly_fields = ("listeners", "watchers", "hour", "day", "created_at")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChannelList

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.broadcast_view)
        url = path("<path:object_id>/broadcast/", view, name=f"{APP}_channel_broadcast")
        return [url, *super().get_urls()]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The id is in clients' URLs and in tickets.
        return self.readonly_fields if obj is None else ("name", *self.readonly_fields)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        settings = (None, {"fields": SETTINGS})
        if obj is None:
            return [settings]
        facts = ["listeners", "watchers", "hour", "day", "created_at"]
        return [settings, (gettext_lazy("Traffic"), {"fields": facts})]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context["original"] is not None:
            context["tools"] = self.tools(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def tools(self, request: HttpRequest, row: Channel) -> list[dict[str, Any]]:
        """Return the links above a channel's page."""
        found: list[dict[str, Any]] = []
        if self.has_publish_permission(request):
            url = self.url(Channel, "broadcast", row.pk)
            found.append({"label": _("Broadcast a message"), "url": url})
        query = urlencode({"channel": row.name})
        for model, label in ((Listener, _("Listeners")), (QueuedMessage, _("Messages"))):
            if url := self.url(model):
                found.append({"label": label, "url": f"{url}?{query}"})
        return found

    def broadcast_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Write a message to all of the channel's listeners."""
        row = self.found(request, object_id, self.has_publish_permission(request))
        if row is None:
            return self.gone(request, object_id)

        def publish(message: Message, expires_in_s: int | None) -> str:
            DatabaseChannel(row).broadcast(message, expires_in_s=expires_in_s)
            self.record(request, [row], _("Broadcast a message of type “%s”.") % message.type)
            return str(_("Message broadcast to “%s”.") % row)

        back = self.url(row, "change", row.pk)
        response = self.compose(request, _("Broadcast a message"), publish, back, row)
        return response or redirect(back)

    def facts(self, row: Channel) -> Facts:
        if not hasattr(row, "_facts"):
            row._facts = facts_of([row])[row.pk]  # type: ignore[attr-defined]
        found: Facts = row._facts  # type: ignore[attr-defined]
        return found

    @admin.display(description=gettext_lazy("listeners (online / all)"))
    def listeners(self, row: Channel) -> Any:
        facts = self.facts(row)
        kind = "on" if facts.online else "off"
        numbers = pill(kind, bounded(facts.online)), bounded(facts.listeners)
        shown = format_html("{} / {}", *numbers)
        url = self.url(Listener)
        query = urlencode({"channel": row.name})
        return format_html('<a href="{}?{}">{}</a>', url, query, shown) if url else shown

    @admin.display(description=gettext_lazy("watchers online"))
    def watchers(self, row: Channel) -> str:
        return at_least(self.facts(row).watchers, stops=False)

    @admin.display(description=gettext_lazy("messages, last hour"))
    def hour(self, row: Channel) -> str:
        return self.facts(row).hour

    @admin.display(description=gettext_lazy("last day"))
    def day(self, row: Channel) -> str:
        return self.facts(row).day

    @admin.display(description=gettext_lazy("retention"))
    def retention(self, row: Channel) -> str:
        if row.retention_s is not None:
            return duration(row.retention_s)
        return _("%(time)s (default)") % {"time": duration(conf.get("RETENTION_S"))}
