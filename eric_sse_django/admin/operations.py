"""What can be done to listeners, from their list and from their pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from eric_sse_django.authorization import revoke
from eric_sse_django.database import operations
from eric_sse_django.models import Listener

REPLAYED = timedelta(hours=1)


@dataclass(frozen=True)
class Operation:
    """One thing to do: `run` returns how many it changed, `done` tells, `past` goes in history."""

    name: str
    label: Any
    run: Callable[[Sequence[Listener]], int]
    done: Any
    past: Any


def _revoke(rows: Sequence[Listener]) -> int:
    revoke(listener=rows)
    return len(rows)


def _replay(rows: Sequence[Listener]) -> int:
    return operations.replay(rows, timezone.now() - REPLAYED)


OPERATIONS = (
    Operation(
        "start",
        _("Start"),
        operations.start,
        ngettext_lazy("%(count)d listener started.", "%(count)d listeners started.", "count"),
        _("Started."),
    ),
    Operation(
        "stop",
        _("Stop"),
        operations.stop,
        ngettext_lazy(
            "%(count)d listener stopped: its streams end, what comes now waits.",
            "%(count)d listeners stopped: their streams end, what comes now waits.",
            "count",
        ),
        _("Stopped."),
    ),
    Operation(
        "disconnect",
        _("Disconnect now"),
        operations.disconnect,
        ngettext_lazy(
            "%(count)d listener disconnected: its streams end on every server.",
            "%(count)d listeners disconnected: their streams end on every server.",
            "count",
        ),
        _("Disconnected."),
    ),
    Operation(
        "revoke",
        _("Revoke access"),
        _revoke,
        ngettext_lazy(
            "Access to %(count)d listener revoked: its streams end on every server, and "
            "tickets made until now count no more.",
            "Access to %(count)d listeners revoked: their streams end on every server, and "
            "tickets made until now count no more.",
            "count",
        ),
        _("Revoked access."),
    ),
    Operation(
        "replay",
        _("Replay the last hour"),
        _replay,
        ngettext_lazy(
            "%(count)d listener gets the messages of the last hour again.",
            "%(count)d listeners get the messages of the last hour again.",
            "count",
        ),
        _("Replayed the last hour."),
    ),
    Operation(
        "discard",
        _("Discard what waits"),
        operations.discard,
        ngettext_lazy(
            "%(count)d listener skipped what waited.",
            "%(count)d listeners skipped what waited.",
            "count",
        ),
        _("Discarded what waited."),
    ),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
