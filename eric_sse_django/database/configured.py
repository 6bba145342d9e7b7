"""The channels that ERIC_SSE["CHANNELS"] names: made by `migrate`, and never changed by it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.apps import apps as installed
from django.core.exceptions import ValidationError
from django.db import router

from eric_sse_django import conf, log
from eric_sse_django.models import Channel

logger = logging.getLogger(__name__)

OPTIONS = ("format", "access", "retention_s", "expires_in_s")


def problems(channel_id: str, options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a channel's id and options: a sentence each."""
    if unknown := sorted(set(options) - set(OPTIONS)):
        return [f"has no option {unknown[0]!r}: use one of {', '.join(OPTIONS)}."]
    try:
        Channel(name=channel_id, **options).clean_fields()
    except ValidationError as error:
        return [f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
    return []


def differences(row: Any, options: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options that a channel's row has otherwise: its value, and the one asked for."""
    pairs = {name: (getattr(row, name, value), value) for name, value in options.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def make(using: str, apps: Any = installed, **_: Any) -> None:
    """
    Make the channels that are missing from a database that was just migrated.

    What is there stays: an option that differs is logged. Connected to post_migrate, whose
    `apps` has the models as the migrations so far have made them.
    """
    try:
        model = apps.get_model("eric_sse_django", "Channel")
    except LookupError:  # migrated to zero
        return
    if using != log.database() or not router.allow_migrate_model(using, model):
        return
    fields = {field.name for field in model._meta.fields}
    for name, options in conf.channels().items():
        if problems(name, options):
            continue  # check says so
        known = {option: value for option, value in options.items() if option in fields}
        rows = model._base_manager.using(using)
        row, is_new = rows.get_or_create(name=name, defaults=known)
        if is_new:
            logger.debug("channel made channel=%s", name)
        for option, (there, asked) in differences(row, known).items():
            logger.warning(
                "the channel %r has %s=%r, and ERIC_SSE['CHANNELS'] says %r: it stays as it is; "
                "change it in the admin, or the setting",
                *(name, option, there, asked),
            )
