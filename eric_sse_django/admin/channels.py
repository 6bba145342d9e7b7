"""The admin of channels: their settings and traffic, broadcasts, and their removal."""

from __future__ import annotations

from collections.abc import Sequence
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
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from eric_sse_django import conf, reports
from eric_sse_django.admin.base import APP, CountsList, WithCounts
from eric_sse_django.admin.formatting import MAX_COUNT, at_least, bounded, duration, pill
from eric_sse_django.admin.pages import PagesAdmin
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.database.configured import differences
from eric_sse_django.database.operations import remove_channel
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, LogHead, OpenStream, QueuedMessage, Watchers


@dataclass
class ChannelCounts:
    """A channel's listeners and streams, and its messages of the last hour and day as text."""

    online: int
    listeners: int
    watchers: int
    hour: str
    day: str


def _open_now(keys: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the listeners that are online, and the watchers, by channel. One query."""
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


class ChannelList(CountsList):
    """A page of channels with their listeners and traffic."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        # Read with the rows, to save a query.
        head = LogHead.objects.filter(pk=LogHead.THE_ONE).values("position")
        found = super().get_queryset(request, *args, **kwargs)
        with_head: QuerySet[Any] = found.annotate(head=Subquery(head))
        return with_head


SETTING_FIELDS = ["name", "access", "format", "retention_s", "expires_in_s"]


@admin.register(Channel)
class ChannelAdmin(WithCounts, PagesAdmin):
    """Creates, shows, broadcasts to and deletes channels; their ids cannot be changed."""

    list_display = (
        "name",
        "listeners",
        "watchers",
        "hour",
        "day",
        "access",
        "retention",
        "format",
        "is_declared",
    )
    search_fields = ("name__startswith",)
    search_help_text = gettext_lazy("The first characters of a channel's id.")
    ordering = ("name",)
    sortable_by = ("name",)
    readonly_fields = ("listeners", "watchers", "hour", "day", "created_at")
    # Of a channel that exists; these are among its settings.
    declared_fields = ("declared",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChannelList

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.broadcast_view)
        url = path("<path:object_id>/broadcast/", view, name=f"{APP}_channel_broadcast")
        return [url, *super().get_urls()]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The id is in clients' URLs and in tickets.
        if obj is None:
            return self.readonly_fields
        return ("name", *self.declared_fields, *self.readonly_fields)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": SETTING_FIELDS})]
        settings = (None, {"fields": [*SETTING_FIELDS, *self.declared_fields]})
        return [settings, (gettext_lazy("Traffic"), {"fields": self.readonly_fields})]

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
        """Show the form of a message to all listeners of the channel, then broadcast it."""
        row = self.object_for(request, object_id, self.has_publish_permission(request))
        if row is None:
            return self.missing(request, object_id)

        def publish(message: Message, expires_in_s: int | None) -> str:
            DatabaseChannel(row).broadcast(message, expires_in_s=expires_in_s)
            self.record(request, [row], _("Broadcast a message of type “%s”.") % message.type)
            return str(_("Message broadcast to “%s”.") % row)

        back = self.url(row, "change", row.pk)
        response = self.compose(request, _("Broadcast a message"), publish, back, row)
        return response or redirect(back)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what Django's confirmation shows: each channel, its listeners and messages."""
        rows: Sequence[Channel] = list(objs)
        keys = [row.pk for row in rows]
        listeners = reports.count_listeners(keys, MAX_COUNT)
        messages = reports.count_messages(keys, MAX_COUNT)
        shown: list[Any] = []
        for row in rows:
            name = capfirst(Channel._meta.verbose_name)
            shown.append(format_html("{}: {}", name, self.link(row)))
            counts = (Listener, listeners[row.pk]), (QueuedMessage, messages[row.pk])
            inside = [_counted(*count) for count in counts]
            if self.is_declared(row):
                inside.append(_("It is declared in the settings: the next migrate creates it."))
            shown.append(inside)
        totals = {
            Channel._meta.verbose_name_plural: len(rows),
            Listener._meta.verbose_name_plural: _total(listeners),
            QueuedMessage._meta.verbose_name_plural: _total(messages),
        }
        return shown, totals, set(), []

    def delete_model(self, request: HttpRequest, obj: Channel) -> None:
        remove_channel(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        for row in queryset:
            remove_channel(row)

    def counts_of(self, rows: Sequence[Any]) -> dict[int, ChannelCounts]:
        """Three queries, and one more for a row that is not of a ChannelList."""
        if not rows:
            return {}
        head = (rows[0].head or 0) if hasattr(rows[0], "head") else None
        keys = [row.pk for row in rows]
        online, watchers = _open_now(keys)
        listeners, traffic = reports.count_listeners(keys, MAX_COUNT), reports.recent_traffic(head)
        return {
            key: ChannelCounts(
                online.get(key, 0),
                listeners.get(key, 0),
                watchers.get(key, 0),
                at_least(traffic.hour.get(key, 0), traffic.hour_stops),
                at_least(traffic.day.get(key, 0), traffic.day_stops),
            )
            for key in keys
        }

    @admin.display(description=gettext_lazy("listeners (online / all)"))
    def listeners(self, row: Channel) -> Any:
        counts: ChannelCounts = self.counts(row)
        kind = "on" if counts.online else "off"
        numbers = pill(kind, bounded(counts.online)), bounded(counts.listeners)
        shown = format_html("{} / {}", *numbers)
        url = self.url(Listener)
        query = urlencode({"channel": row.name})
        return format_html('<a href="{}?{}">{}</a>', url, query, shown) if url else shown

    @admin.display(description=gettext_lazy("watchers online"))
    def watchers(self, row: Channel) -> str:
        return at_least(self.counts(row).watchers, stopped=False)

    @admin.display(description=gettext_lazy("messages, last hour"))
    def hour(self, row: Channel) -> str:
        return str(self.counts(row).hour)

    @admin.display(description=gettext_lazy("last day"))
    def day(self, row: Channel) -> str:
        return str(self.counts(row).day)

    @admin.display(description=gettext_lazy("declared"), boolean=True)
    def is_declared(self, row: Channel) -> bool:
        """Whether ERIC_SSE["CHANNELS"] has it. No query."""
        return row.name in conf.channels()

    @admin.display(description=gettext_lazy("declared in the settings"))
    def declared(self, row: Channel) -> str:
        """Return whether the settings declare it, and how they differ from what it has."""
        options = conf.channels().get(row.name)
        if options is None:
            return _("no")
        pairs = differences(row, options).items()
        if not pairs:
            return _("yes, as it is here")
        asked = ", ".join(f"{name}={asked!r}" for name, (_there, asked) in pairs)
        return _("yes, but with %(options)s") % {"options": asked}

    @admin.display(description=gettext_lazy("retention"))
    def retention(self, row: Channel) -> str:
        if row.retention_s is not None:
            return duration(row.retention_s)
        return _("%(time)s (default)") % {"time": duration(conf.get("RETENTION_S"))}


def _counted(model: type[Listener] | type[QueuedMessage], count: int) -> str:
    meta = model._meta
    return f"{bounded(count)} {meta.verbose_name if count == 1 else meta.verbose_name_plural}"


def _total(counts: dict[int, int]) -> str:
    total = sum(min(count, MAX_COUNT) for count in counts.values())
    return at_least(total, any(count > MAX_COUNT for count in counts.values()))
