"""The forms of the page."""

from __future__ import annotations

from django import forms

MAX_CHARACTERS = 500


class BroadcastForm(forms.Form):
    text = forms.CharField(
        max_length=MAX_CHARACTERS,
        error_messages={
            "required": "Enter a message.",
            "max_length": "Enter at most %(limit_value)d characters, not %(show_value)d.",
        },
    )


class DispatchForm(BroadcastForm):
    listener = forms.CharField(max_length=128, error_messages={"required": "Choose a listener."})
