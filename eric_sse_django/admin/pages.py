"""The pages between a click and its effect: a confirmation, and a message to write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from eric_sse_django import conf, log, wire
from eric_sse_django.admin.base import EricAdmin
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.message import Message
from eric_sse_django.models import TYPE_MAX_LENGTH, Channel, Listener

# The field that the button of a confirmation page sends.
CONFIRMED = "confirmed"
# Listeners named on a page; the others are counted.
MAX_NAMED = 10


class MessageForm(forms.Form):
    """A type, a payload and a lifetime, validated as publishing does."""

    type = forms.CharField(
        label=gettext_lazy("Type"),
        max_length=TYPE_MAX_LENGTH,
        help_text=gettext_lazy(
            "The name of the event, which clients subscribe to. For example: paid."
        ),
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )
    payload = forms.CharField(
        label=gettext_lazy("Payload"),
        required=False,
        help_text=gettext_lazy(
            'Any JSON value, such as {"order": 7} or "text". Leave empty for null.'
        ),
        widget=forms.Textarea(
            attrs={"class": "vLargeTextField eric-json", "rows": 10, "spellcheck": "false"}
        ),
    )
    expires_in_s = forms.IntegerField(
        label=gettext_lazy("Lifetime in seconds"),
        required=False,
        min_value=1,
        help_text=gettext_lazy(
            "The message is not delivered after this time. "
            "Leave empty to use the setting of the channel."
        ),
    )

    def clean_type(self) -> str:
        name: str = self.cleaned_data["type"]
        try:
            log.row(Channel(), Message(name))
        except InvalidMessageFormat as error:
            raise _invalid(error) from error
        return name

    def clean_payload(self) -> Any:
        text = self.cleaned_data["payload"].strip()
        try:
            payload = json.loads(text) if text else None
            wire.json_text(payload, conf.get("MAX_MESSAGE_BYTES"))
        except json.JSONDecodeError as error:
            where = {"line": error.lineno, "column": error.colno, "error": error.msg}
            sentence = _("This is not valid JSON: %(error)s (line %(line)d, column %(column)d).")
            raise forms.ValidationError(sentence % where) from error
        except (ValueError, RecursionError) as error:  # a number or a nesting too large
            raise forms.ValidationError(_("This cannot be read as JSON.")) from error
        except InvalidMessageFormat as error:
            raise _invalid(error) from error
        return payload

    def message(self) -> Message:
        """Return the message of a valid form."""
        return Message(self.cleaned_data["type"], self.cleaned_data["payload"])


def _invalid(error: InvalidMessageFormat) -> forms.ValidationError:
    """Return the form's error; its reason is not translated, as in the API for publishers."""
    return forms.ValidationError(
        _("The message was refused: %(reason)s."), params={"reason": error.reason}
    )


class PagesAdmin(EricAdmin):
    """
    Shows a page with a button before something is done.

    Links lead to these pages, because themes put the tools of a page into its form, and a
    browser ignores a form within a form.
    """

    def confirm(
        self,
        request: HttpRequest,
        label: Any,
        effect: Any,
        rows: Sequence[Listener],
        action: str | None = None,
    ) -> HttpResponseBase:
        """Return a page that posts to its own URL; with `action`, as the list's action on rows."""
        hidden = [] if action is None else self.hidden_fields(action, rows)
        row = rows[0] if action is None else None
        context = {"label": label, "effect": effect, "hidden": hidden, **self.names_of(rows)}
        return self.page(request, "confirm.html", _("Are you sure?"), row, **context)

    def compose(
        self,
        request: HttpRequest,
        title: str,
        publish: Callable[[Message, int | None], str],
        back: str | None,
        row: Any = None,
        **context: Any,
    ) -> HttpResponseBase | None:
        """
        Return the page of a message form until a valid one is posted, then call publish().

        publish() gets the message and its lifetime in seconds, and returns the text to show.
        Return a redirect to `back` afterwards, or None without it.
        """
        form = MessageForm(request.POST if "payload" in request.POST else None)
        if form.is_valid():
            with transaction.atomic(using=log.database()):
                text = publish(form.message(), form.cleaned_data["expires_in_s"])
            self.message_user(request, text, messages.SUCCESS)
            return redirect(back) if back else None
        return self.page(request, "send.html", title, row, form=form, **context)

    @staticmethod
    def hidden_fields(action: str, rows: Sequence[Listener]) -> list[tuple[str, str]]:
        """Return the form fields that run an action of the list on these rows."""
        keys = [(ACTION_CHECKBOX_NAME, str(row.pk)) for row in rows]
        return [("action", action), ("select_across", "0"), *keys]

    @staticmethod
    def names_of(rows: Sequence[Listener]) -> dict[str, Any]:
        """Return the names of the first rows, and the number of the others."""
        named = [f"{row.name} ({row.channel})" for row in rows[:MAX_NAMED]]
        return {"named": named, "unnamed": len(rows) - len(named)}
