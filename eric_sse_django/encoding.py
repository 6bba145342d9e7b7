"""Payloads as JSON text, with the project's encoder."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from eric_sse_django import conf, wire

# The text of each encoder must be one line of ASCII, also for this payload.
_SAMPLE = {"\u00e9\n": ["\ud800", 0.5, None]}


def payload_text(payload: Any) -> str:
    """
    Return the payload as one line of ASCII JSON.

    Raises InvalidMessageFormat, as wire.json_text() does.
    """
    return wire.json_text(
        payload, conf.get("MAX_MESSAGE_BYTES"), encoder(conf.get("JSON_ENCODER"))
    )


@lru_cache
def encoder(path: str) -> json.JSONEncoder:
    """
    Return an encoder of the class with that dotted path.

    Raises ImportError, and ImproperlyConfigured for what is not an encoder or does not write
    one line of ASCII.
    """
    cls = import_string(path)
    if not (isinstance(cls, type) and issubclass(cls, json.JSONEncoder)):
        raise ImproperlyConfigured(f"{path} is not a subclass of json.JSONEncoder.")
    made = wire.encoder(cls)
    text = made.encode(_SAMPLE)
    if not (isinstance(text, str) and text.isascii() and "\n" not in text):
        raise ImproperlyConfigured(f"{path} does not write one line of ASCII: {text!r}.")
    return made
