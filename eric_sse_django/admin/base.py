"""The base classes of the admins: bounded lists with counts, links, and own pages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from eric_sse_django.admin.formatting import MAX_COUNT, bounded
from eric_sse_django.models import Monitor

if TYPE_CHECKING:  # generic for the type checker only
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    AnyModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator

APP = "eric_sse_django"
# The attribute of a request that holds the count of the list, if a filter has counted it.
KNOWN_COUNT = "_eric_known_count"


def set_known_count(request: HttpRequest, count: int, *parameters: str) -> None:
    """Keep the count of a list that these GET parameters select, unless others narrow it."""
    if not set(request.GET) - {*parameters, PAGE_VAR, ORDER_VAR}:
        setattr(request, KNOWN_COUNT, count)


class BoundedPaginator(AnyPaginator):
    """
    A paginator that stops counting, and paging, at MAX_COUNT; `is_truncated` is true if it did.

    On the first page of a list, `is_first`, rows that fit on the page are read instead of
    counted: `first_page` returns them without another query.
    """

    object_list: QuerySet[Any]
    known_count: int | None = None
    is_first = False

    def configure(self, request: HttpRequest) -> None:
        """Read from the request of a list which page it asks for, and a known count."""
        self.known_count = getattr(request, KNOWN_COUNT, None)
        self.is_first = PAGE_VAR not in request.GET

    @property
    def first_page(self) -> list[Any]:
        return self._first_rows[: self.per_page]

    @cached_property
    def _first_rows(self) -> list[Any]:
        return list(self.object_list[: self.per_page + 1])

    @cached_property
    def _counted(self) -> int:
        if self.known_count is not None:
            return self.known_count
        if self.is_first and len(self._first_rows) <= self.per_page:
            return len(self._first_rows)
        rows = self.object_list.order_by().values("pk")
        return rows[: MAX_COUNT + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MAX_COUNT)

    @property
    def is_truncated(self) -> bool:
        return self._counted > MAX_COUNT


class CountsList(ChangeList):
    """A page of rows, each with its counts in `_counts`, which are read for all rows at once."""

    paginator: BoundedPaginator
    model_admin: Any  # one WithCounts

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        is_first = self.page_num == 1
        rows = self.paginator.first_page if is_first else list(self.result_list)
        counts = self.model_admin.counts_of(rows)
        for row in rows:
            row._counts = counts.get(row.pk)
        self.result_list = rows


class WithCounts:
    """The part of an admin whose list, a CountsList, has columns of counts."""

    @abstractmethod
    def counts_of(self, rows: Sequence[Any]) -> Mapping[int, Any]:
        """Return the counts by primary key; the list gives None to a row that is missing."""

    def counts(self, row: Any) -> Any:
        """Return the counts that the list has read for all rows, else read them for this row."""
        if not hasattr(row, "_counts"):
            row._counts = self.counts_of([row])[row.pk]
        return row._counts

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CountsList


class EricAdmin(AnyModelAdmin):
    """An admin whose lists have a bounded cost, and that adds pages to Django's."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a facet counts the whole table
    list_per_page = 100
    list_max_show_all = 0

    class Media:
        css = {"all": ["eric_sse_django/admin.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        monitor_url = self.url(Monitor) if self.allowed(request, "view_monitor") else ""
        context = {"monitor_url": monitor_url, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> BoundedPaginator:
        paginator: Any = super().get_paginator(request, *args, **kwargs)
        paginator.configure(request)
        return paginator  # type: ignore[no-any-return]

    def allowed(self, request: HttpRequest, permission: str) -> bool:
        """Return whether the user has a permission of this app, such as "publish_channel"."""
        return bool(request.user.has_perm(f"{APP}.{permission}"))

    def has_publish_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request, "publish_channel")

    def selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any] | None:
        """Return the rows selected for an action; None, with an error shown, if too many."""
        rows = list(queryset[: MAX_COUNT + 1])
        if len(rows) <= MAX_COUNT:
            return rows
        text = _("Nothing was changed: an action takes at most %(max)s rows.")
        self.message_user(request, text % {"max": bounded(MAX_COUNT)}, messages.ERROR)
        return None

    @admin.action(description=_("Delete selected %(verbose_name_plural)s"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Run Django's action for a bounded number of rows: it reads all of them into memory."""
        if self.selected(request, queryset) is None:
            return None
        return delete_selected(self, request, queryset)

    def url(self, model: type[Model] | Model, page: str = "changelist", *args: Any) -> str:
        """Return the URL of a model's page on this admin site, "" if the site has none."""
        meta = model._meta
        if meta.model not in _registered(self.admin_site):
            return ""  # links stay within one site
        name = f"admin:{meta.app_label}_{meta.model_name}_{page}"
        try:
            return reverse(
                name, args=[quote(arg) for arg in args], current_app=self.admin_site.name
            )
        except NoReverseMatch:
            return ""

    def link(self, instance: Model, text: object = None) -> str:
        """Return a link to an object's page, or only the text if this site has no such page."""
        shown = str(instance if text is None else text)
        url = self.url(instance, "change", instance.pk)
        return format_html('<a href="{}">{}</a>', url, shown) if url else shown

    def record(self, request: HttpRequest, rows: Sequence[Model], text: Any) -> None:
        """Add a text to the history of each row. Three queries at most."""
        LogEntry.objects.log_actions(
            user_id=request.user.pk,  # type: ignore[arg-type]
            queryset=rows,
            action_flag=CHANGE,
            change_message=str(text),
        )

    def object_for(self, request: HttpRequest, object_id: str, allowed: bool) -> Any:
        """Return the object of a page, None if it does not exist; raise PermissionDenied."""
        row = self.get_object(request, unquote(object_id))
        if not allowed or not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def missing(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Return Django's answer for an object that does not exist: its list, with a message."""
        response: HttpResponseBase = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
            request, self.opts, object_id
        )
        return response

    def page(
        self, request: HttpRequest, template: str, title: Any, row: Any = None, **context: Any
    ) -> TemplateResponse:
        """Return a page of this app within the layout of the admin site."""
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(str(title)),
            "opts": self.opts,
            "back": self.url(row, "change", row.pk) if row else self.url(self.model),
            "original": row,
            "media": self.media,
            **context,
        }
        return TemplateResponse(request, f"admin/{APP}/{template}", context)


def _registered(site: admin.AdminSite) -> Any:
    return site._registry
