"""What an operator types in."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from eric_sse_django import conf, log, wire
from eric_sse_django.admin.typed import AnyModelForm
from eric_sse_django.database.rows import check_room
from eric_sse_django.exception import InvalidMessageFormat, TooManyListeners
from eric_sse_django.message import Message
from eric_sse_django.models import TYPE_MAX_LENGTH, Channel


def refusal(error: InvalidMessageFormat) -> forms.ValidationError:
    """Return the refusal as the form says it; the reason is the publisher's API's own."""
    return forms.ValidationError(
        _("The message was refused: %(reason)s."), params={"reason": error.reason}
    )


class MessageForm(forms.Form):
    """A type and a payload, held to the rules of publishing."""

    type = forms.CharField(
        label=_("Type"),
        max_length=TYPE_MAX_LENGTH,
        help_text=_("The name of the event, which clients subscribe to. For example: paid."),
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )
    payload = forms.CharField(
        label=_("Payload"),
        required=False,
        help_text=_('Any JSON value, such as {"order": 7} or "text". Leave empty for null.'),
        widget=forms.Textarea(
            attrs={"class": "vLargeTextField eric-json", "rows": 10, "spellcheck": "false"}
        ),
    )

    expires_in_s = forms.IntegerField(
        label=_("Lifetime in seconds"),
        required=False,
        min_value=1,
        help_text=_(
            "The message is not delivered after this time. "
            "Leave empty to use the setting of the channel."
        ),
    )

    def clean_type(self) -> str:
        name: str = self.cleaned_data["type"]
        try:
            log.row(Channel(), Message(name))
        except InvalidMessageFormat as error:
            raise refusal(error) from error
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
            raise refusal(error) from error
        return payload

    def message(self) -> Message:
        """Return the message of a form that is valid."""
        return Message(self.cleaned_data["type"], self.cleaned_data["payload"])


class ListenerForm(AnyModelForm):
    """A listener to add by hand."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            self.fields["name"].required = False
            self.fields["name"].help_text = _(
                "Leave empty for a random id that cannot be guessed."
            )
        if "acknowledgement" in self.fields:
            self.fields["acknowledgement"].required = False  # then the model's default

    def clean(self) -> Any:
        found = super().clean() or self.cleaned_data
        if found.get("channel") is not None:
            try:
                check_room(found["channel"], found.get("name", ""))
            except TooManyListeners as error:
                text = _("The channel has %(listeners)s listeners; at most %(most)s are allowed.")
                full = forms.ValidationError(text, params=vars(error))
                self.add_error("channel", full)
        return found
