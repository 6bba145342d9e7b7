"""Filters that use indexes; only the choices of channels need a query."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django import reports
from eric_sse_django.admin.base import set_known_count
from eric_sse_django.admin.formatting import MAX_COUNT
from eric_sse_django.models import Channel, Listener, OpenStream

# Channels offered in the sidebar; the others are found by searching for their id.
MAX_CHANNELS = 30
# A message that has waited longer is late.
LATE_AFTER = timedelta(minutes=1)


class OnlineFilter(admin.SimpleListFilter):
    title = _("presence")
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Online")), ("no", _("Offline"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        streams = OpenStream.objects.online().values("listener")
        if self.value() == "yes":
            return queryset.filter(pk__in=streams)
        return queryset.exclude(pk__in=streams) if self.value() == "no" else queryset


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "running"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Running")), ("no", _("Stopped"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(running=self.value() == "yes")
        return queryset


class LaggingFilter(admin.SimpleListFilter):
    title = _("queue")
    parameter_name = "lagging"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Lagging: a message has waited for over a minute"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "yes":
            return queryset
        late = reports.lagging(queryset, timezone.now() - LATE_AFTER)
        if request.GET.get("q"):
            return late  # the search is applied to all of them
        # Reading 100,000 listeners takes 0.5 s: done once, not both to count and to show.
        keys = list(late.order_by().values_list("pk", flat=True)[: MAX_COUNT + 1])
        set_known_count(request, len(keys), "lagging", "online", "running", "channel", "served")
        return queryset.filter(pk__in=keys) if len(keys) <= MAX_COUNT else late


class AcknowledgementFilter(admin.SimpleListFilter):
    title = _("served")
    parameter_name = "served"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Listener.Acknowledgement.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in Listener.Acknowledgement.values:
            return queryset.filter(acknowledgement=self.value())
        return queryset


class ChannelFilter(admin.SimpleListFilter):
    title = _("channel")
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        channels = Channel.objects.order_by("name").values_list("name", "name")
        return list(channels[:MAX_CHANNELS])

    def has_output(self) -> bool:
        return True  # also for a channel that is not offered

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield from super().choices(changelist)
        value = self.value()
        if value and value not in dict(self.lookup_choices):
            yield {"selected": True, "query_string": "", "display": value}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(channel__name=self.value()) if self.value() else queryset


class TypeFilter(admin.SimpleListFilter):
    """
    The type that was clicked in a row of the list, or none.

    It offers no other types, because that would read the whole log; and it has no text field,
    because some themes would put its form into another form.
    """

    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        value = self.value()
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset
