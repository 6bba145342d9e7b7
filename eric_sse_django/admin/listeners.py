"""The admin of listeners: their list and what can be done from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext_lazy as _

from eric_sse_django.admin.confirming import CONFIRMED
from eric_sse_django.admin.facts import FactColumns, Facts, facts_of
from eric_sse_django.admin.filters import (
    AcknowledgementFilter,
    ChannelFilter,
    LaggingFilter,
    OnlineFilter,
    StateFilter,
)
from eric_sse_django.admin.forms import ListenerForm
from eric_sse_django.admin.listener_page import ListenerPage
from eric_sse_django.admin.lists import FactList
from eric_sse_django.admin.operations import OPERATIONS, Operation
from eric_sse_django.database.rows import create_listener
from eric_sse_django.models import Listener, users_are_here, users_named


class ListenerList(FactList):
    """A page of listeners with their queues and streams."""

    def facts_of(self, rows: Sequence[Listener]) -> dict[int, Facts]:
        return facts_of(rows)


def action(operation: Operation) -> Callable[..., Any]:
    """Return the admin action that does the operation to what is selected."""

    def act(modeladmin: ListenerAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        rows = modeladmin.picked(request, queryset.select_related("channel"))
        if rows is None:
            return None
        if operation.asks and CONFIRMED not in request.POST:
            to = operation.label, operation.effect, rows, operation.name
            return modeladmin.confirm(request, *to)
        modeladmin.operate(request, operation, rows)
        return None

    act.__name__ = operation.name
    act.short_description = operation.label  # type: ignore[attr-defined]
    act.allowed_permissions = ["operate"]  # type: ignore[attr-defined]
    return act


@admin.register(Listener)
class ListenerAdmin(FactColumns, ListenerPage):
    """Shows, adds, removes and operates; a listener in use is never edited."""

    list_display = (
        "name",
        "online",
        "channel",
        "owner",
        "queue",
        "oldest",
        "seen",
        "state",
    )
    list_filter = (OnlineFilter, StateFilter, ChannelFilter, AcknowledgementFilter, LaggingFilter)
    ordering = ("channel", "name")
    sortable_by = ("seen",)  # the others by their index: channel, then id
    search_help_text = _(
        "The exact id of a listener or a channel, or the exact user name of an owner."
    )
    form = ListenerForm
    autocomplete_fields = ("channel",)
    raw_id_fields = ("owner",)
    actions = (*(action(operation) for operation in OPERATIONS), "send", "delete_selected")

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        owner = f"owner__{get_user_model().USERNAME_FIELD}__exact"
        return ["name__exact", "channel__name__exact", *([owner] if users_are_here() else [])]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find also by the owner: in two steps where users are in another database."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        term = search_term.strip()
        # PostgreSQL raises ValueError for a NUL in a query's parameter.
        if not users_are_here() and term and term.isprintable():
            found |= queryset.filter(owner__in=users_named([term]).values())
        return found, may_repeat

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ListenerList

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its channel and id are in URLs, and its cursor is the hubs' to write

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        return {"running": True, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Listener, form: Any, change: bool) -> None:
        """Add it as add_listener() does: it begins at the head of the log."""
        to = obj.channel, obj.name or None, obj.owner
        made = create_listener(*to, obj.running, obj.acknowledgement)
        obj.__dict__.update(made.__dict__)

    @admin.action(description=_("Send a message"), permissions=["publish"])
    def send(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        rows = self.picked(request, queryset.select_related("channel"))
        return None if rows is None else self.send_to(request, rows)
