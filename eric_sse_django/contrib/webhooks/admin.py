"""The admin of webhooks: endpoints, and dead letters that can be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from eric_sse_django.admin.base import EricAdmin
from eric_sse_django.contrib.webhooks.endpoints import register, send_again
from eric_sse_django.contrib.webhooks.models import DeadLetter, Endpoint
from eric_sse_django.database.rows import channel_row
from eric_sse_django.exception import InvalidChannelException, TooManyListeners

if TYPE_CHECKING:  # generic for the type checker only
    AnyModelForm = forms.ModelForm[Any]
else:
    AnyModelForm = forms.ModelForm


class NewEndpointForm(AnyModelForm):
    """The form to add an endpoint: its listener is created with it."""

    channel = forms.CharField(label=_("Channel"))

    class Meta:
        model = Endpoint
        fields = ("channel", "url", "types")

    def clean_channel(self) -> str:
        """Return the id of a channel that exists."""
        try:
            return channel_row(self.cleaned_data["channel"]).name
        except InvalidChannelException as error:
            raise forms.ValidationError(str(error)) from None


@admin.register(Endpoint)
class EndpointAdmin(EricAdmin):
    """Endpoints with the state of their last request. Their queues are those of the listeners."""

    list_display = (
        *("url", "channel", "listener_link", "running", "attempts", "next_attempt_at"),
        *("last_status", "accepted_at"),
    )
    list_select_related = ("listener__channel",)
    search_fields = ("url", "listener__name", "listener__channel__name")
    ordering = ("-pk",)
    actions = ("renew_secrets",)
    shown = (
        *("channel", "listener_link", "running", "secret", "previous_secret"),
        *("attempts", "next_attempt_at", "last_status", "last_error", "accepted_at", "created_at"),
    )

    def get_form(self, request: HttpRequest, obj: Any = None, *args: Any, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewEndpointForm
        return super().get_form(request, obj, *args, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return NewEndpointForm.Meta.fields
        shown = self.get_readonly_fields(request, obj)
        return ("url", "types", *shown)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        is_hidden = not self.has_change_permission(request, obj)
        return [name for name in self.shown if not (is_hidden and name.endswith("secret"))]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            # No others: a worker may have written them since the page was read.
            fields = [name for name in form.changed_data if name in ("url", "types")]
            if "url" in fields:
                obj.next_attempt_at, obj.attempts = None, 0
                fields += ["next_attempt_at", "attempts"]
            obj.save(update_fields=fields)
            return
        made = register(form.cleaned_data["channel"], obj.url, types=obj.types)
        obj.__dict__.update(made.__dict__)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().add_view(request, *args, **kwargs)
        except TooManyListeners as error:
            self.message_user(request, str(error), messages.ERROR)
            return self.response_post_save_add(request, Endpoint())

    @admin.display(description=_("channel"), ordering="listener__channel__name")
    def channel(self, row: Endpoint) -> str:
        return self.link(row.listener.channel)

    @admin.display(description=_("listener"))
    def listener_link(self, row: Endpoint) -> str:
        return self.link(row.listener)

    @admin.display(description=_("running"), boolean=True)
    def running(self, row: Endpoint) -> bool:
        return bool(row.listener.running)

    @admin.action(description=_("Renew the secrets"), permissions=["change"])
    def renew_secrets(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        rows = self.selected(request, queryset) or []
        for row in rows:
            row.renew_secret()
            row.save(update_fields=["secret", "previous_secret"])
        self.record(request, rows, _("Secret renewed."))
        count = len(rows)
        text = ngettext("%(count)d secret renewed.", "%(count)d secrets renewed.", count)
        self.message_user(request, text % {"count": count})


@admin.register(DeadLetter)
class DeadLetterAdmin(EricAdmin):
    """Messages that were not accepted. An operator sends them again, or deletes them."""

    list_display = (
        *("type", "position", "endpoint_link", "attempts", "last_error"),
        *("failed_at", "again_at"),
    )
    list_select_related = ("endpoint",)
    search_fields = ("type", "endpoint__url")
    ordering = ("-pk",)
    actions = ("send_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.list_display, "last_status", "body")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)

    @admin.display(description=_("endpoint"))
    def endpoint_link(self, row: DeadLetter) -> str:
        return self.link(row.endpoint)

    @admin.action(description=_("Send again"), permissions=["change"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        rows = self.selected(request, queryset) or []
        count = send_again(DeadLetter.objects.filter(pk__in=[row.pk for row in rows]))
        self.record(request, rows, _("Sent again."))
        text = ngettext(
            "%(count)d message is sent again.", "%(count)d messages are sent again.", count
        )
        self.message_user(request, text % {"count": count})
