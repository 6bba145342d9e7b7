"""Filters that use indexes, and look nothing up to offer their choices but channels."""

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
from eric_sse_django.admin.paginator import know
from eric_sse_django.admin.words import MOST
from eric_sse_django.models import Channel, Listener, OpenStream

# Channels offered in the sidebar; any other is found by searching for its id.
MOST_CHANNELS = 30
LAG = timedelta(minutes=1)


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
        late = reports.lagging(queryset, timezone.now() - LAG)
        if request.GET.get("q"):
            return late  # the search comes after this, and must find all there are
        # Looking at each of 100,000 listeners takes 0.5 s: once, not to count and to show.
        keys = list(late.order_by().values_list("pk", flat=True)[: MOST + 1])
        know(request, len(keys), "lagging", "online", "running", "channel", "served")
        return queryset.filter(pk__in=keys) if len(keys) <= MOST else late


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
        return list(channels[:MOST_CHANNELS])

    def has_output(self) -> bool:
        return True  # also for a channel that is not among those offered

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield from super().choices(changelist)
        value = self.value()
        if value and value not in dict(self.lookup_choices):
            yield {"selected": True, "query_string": "", "display": value}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(channel__name=self.value()) if self.value() else queryset


class TypeFilter(admin.SimpleListFilter):
    """
    The type that a row of the list was clicked for, or none.

    To offer those there are would mean reading the whole log; and a field to type one in
    would be a form, which some themes put into another.
    """

    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        value = self.value()
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset
