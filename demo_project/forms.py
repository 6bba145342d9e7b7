"""What may be sent from the page."""

from __future__ import annotations

from django import forms

MOST_CHARACTERS = 500


class BroadcastForm(forms.Form):
    text = forms.CharField(
        max_length=MOST_CHARACTERS,
        error_messages={
            "required": "Write something first.",
            "max_length": "At most %(limit_value)d characters, please: these are %(show_value)d.",
        },
    )


class DispatchForm(BroadcastForm):
    listener = forms.CharField(
        max_length=128, error_messages={"required": "Choose who is to get it."}
    )
