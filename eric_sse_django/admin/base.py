"""What the admins of channels, listeners and messages have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from eric_sse_django.admin.paginator import BoundedPaginator
from eric_sse_django.admin.typed import AnyModelAdmin
from eric_sse_django.admin.words import MOST, bounded
from eric_sse_django.models import Monitor

APP = "eric_sse_django"


class EricAdmin(AnyModelAdmin):
    """Lists that cost the same whatever the tables hold, and pages of our own beside Django's."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a facet counts the whole table
    list_per_page = 100
    list_max_show_all = 0

    class Media:
        css = {"all": ["eric_sse_django/admin.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        may_monitor = self.allowed(request, "view_monitor")
        context = {
            "monitor_url": self.url(Monitor) if may_monitor else "",
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> BoundedPaginator:
        made: Any = super().get_paginator(request, *args, **kwargs)
        made.look_at(request)
        return made  # type: ignore[no-any-return]

    def allowed(self, request: HttpRequest, permission: str) -> bool:
        """Whether the user has one of the app's permissions, such as "publish_channel"."""
        return bool(request.user.has_perm(f"{APP}.{permission}"))

    def has_publish_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request, "publish_channel")

    def picked(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any] | None:
        """Return the rows that an action is for, None (and a message) when they are too many."""
        rows = list(queryset[: MOST + 1])
        if len(rows) <= MOST:
            return rows
        text = _("Nothing was done: an action takes at most %(most)s rows, and more are selected.")
        self.message_user(request, text % {"most": bounded(MOST)}, messages.ERROR)
        return None

    @admin.action(description=_("Delete selected %(verbose_name_plural)s"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Django's own, which holds all that it deletes in memory: so for a bounded number."""
        if self.picked(request, queryset) is None:
            return None
        return delete_selected(self, request, queryset)

    def url(self, model: type[Model] | Model, page: str = "changelist", *args: Any) -> str:
        """Return the URL of a model's page on this admin site, "" where the site has none."""
        meta = model._meta
        if meta.model not in _registered(self.admin_site):
            return ""  # another site may have it, which is none of ours
        name = f"admin:{meta.app_label}_{meta.model_name}_{page}"
        try:
            return reverse(
                name, args=[quote(arg) for arg in args], current_app=self.admin_site.name
            )
        except NoReverseMatch:
            return ""

    def link(self, instance: Model, text: object = None) -> str:
        """Return a link to an object's page, or its text where this site has none for it."""
        shown = str(instance if text is None else text)
        url = self.url(instance, "change", instance.pk)
        return format_html('<a href="{}">{}</a>', url, shown) if url else shown

    def record(self, request: HttpRequest, rows: Sequence[Model], what: Any) -> None:
        """Write what was done to the history of each of the rows. Three queries at most."""
        LogEntry.objects.log_actions(
            user_id=request.user.pk,  # type: ignore[arg-type]
            queryset=rows,
            action_flag=CHANGE,
            change_message=str(what),
        )

    def found(self, request: HttpRequest, object_id: str, allowed: bool) -> Any:
        """Return the object of one of our pages, None if it is gone; raises PermissionDenied."""
        row = self.get_object(request, unquote(object_id))
        if not allowed or not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def gone(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Return Django's answer to an object that is not there: its list, with a message."""
        response: HttpResponseBase = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
            request, self.opts, object_id
        )
        return response

    def page(
        self, request: HttpRequest, template: str, title: Any, row: Any = None, **context: Any
    ) -> TemplateResponse:
        """Return a page of our own in the admin's frame."""
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
