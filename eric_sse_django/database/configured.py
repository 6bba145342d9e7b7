"""Channels that `migrate` creates from ERIC_SSE["CHANNELS"], and rows that `loaddata` loads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.apps import apps as installed
from django.core.exceptions import ValidationError
from django.db import connections, router, transaction

from eric_sse_django import conf, log
from eric_sse_django.models import Channel

logger = logging.getLogger(__name__)

OPTIONS = ("format", "access", "retention_s", "expires_in_s")


def problems(channel_id: str, options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a channel's id and options: one sentence for each problem."""
    if unknown := sorted(set(options) - set(OPTIONS)):
        return [f"has no option {unknown[0]!r}: use one of {', '.join(OPTIONS)}."]
    try:
        Channel(name=channel_id, **options).clean_fields()
    except ValidationError as error:
        return [f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
    return []


def differences(row: Any, options: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options in which a channel's row differs: the row's value, the given value."""
    pairs = {name: (getattr(row, name, value), value) for name, value in options.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def create_missing(using: str, apps: Any = installed, **_: Any) -> None:
    """
    Create the missing channels in a database that was just migrated. Connected to post_migrate.

    Existing channels are not changed: a difference is logged. `apps` has the models of the
    migrations that were applied so far.
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
            continue  # a system check reports them
        known = {option: value for option, value in options.items() if option in fields}
        rows = model._base_manager.using(using)
        row, is_new = rows.get_or_create(name=name, defaults=known)
        if is_new:
            logger.debug("channel created channel=%s", name)
        for option, (there, asked) in differences(row, known).items():
            logger.warning(
                "the channel %r has %s=%r, and ERIC_SSE['CHANNELS'] has %r: it was not changed; "
                "change it in the admin, or the setting",
                *(name, option, there, asked),
            )


def on_loaded(raw: bool = False, **_: object) -> None:
    """
    After the commit, continue above the positions of rows that `loaddata` loaded.

    They are from another database, and their signals have raw=True. Connected to post_save.
    """
    using = log.database()
    waiting = connections[using].run_on_commit if raw else ()
    if raw and not any(callback is log.go_on_above_all for _, callback, *_ in waiting):
        transaction.on_commit(log.go_on_above_all, using=using, robust=True)
