"""Rows that come from another database: by `loaddata`, which sends signals with raw=True."""

from __future__ import annotations

from django.db import connections, transaction

from eric_sse_django import log


def on_loaded(raw: bool = False, **_: object) -> None:
    """Have positions go on above those of loaded rows, after the commit. On post_save."""
    using = log.database()
    waiting = connections[using].run_on_commit if raw else ()
    if raw and not any(callback is log.go_on_above_all for _, callback, *_ in waiting):
        transaction.on_commit(log.go_on_above_all, using=using, robust=True)
