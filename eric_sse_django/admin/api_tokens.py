"""The admin of API tokens: the secret is shown once, when a token is created."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext_lazy as _

from eric_sse_django.admin.base import EricAdmin
from eric_sse_django.models import ApiToken, with_user


class ApiTokenAdmin(EricAdmin):
    """Superusers manage all tokens, other users their own ones only."""

    list_display = ("name", "user", "active", "created_at", "expires_at", "last_used_at")
    ordering = ("-pk",)
    raw_id_fields = ("user",)  # a choice of 20,000 users takes 7 s
    fields = ("user", "name", "expires_at", "active", "created_at", "last_used_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = with_user(super().get_queryset(request), "user")
        return rows if request.user.is_superuser else rows.filter(user=request.user.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        shown = ("created_at", "last_used_at")
        return shown if obj is None else ("user", *shown)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and not request.user.is_superuser:
            # A token gives access as its user: nobody may create one for another user.
            users = get_user_model()._default_manager
            kwargs["queryset"] = users.filter(pk=request.user.pk)  # type: ignore[misc]
            kwargs["widget"] = forms.Select()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        return {"user": request.user.pk, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if not change:
            obj._secret = obj.renew_secret()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: Any = None
    ) -> HttpResponse:
        """Show the secret on this page: a message could be stored in the session."""
        title = _("The new API token")
        response = self.page(request, "api_token.html", title, obj, secret=obj._secret)
        add_never_cache_headers(response)
        return response


if find_spec("ninja") is not None:  # without the extra `api`, tokens are not used
    admin.site.register(ApiToken, ApiTokenAdmin)
