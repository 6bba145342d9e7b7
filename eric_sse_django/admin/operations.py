"""The operations on listeners, offered in their list and on their pages."""

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
    """
    One operation. `run` returns how many listeners it changed; `effect` describes it.

    `done` is the message shown afterwards, `history` the text for the object's history. An
    operation that `is_confirmed` cannot be undone: the list asks for confirmation too.
    """

    name: str
    label: Any
    effect: Any
    run: Callable[[Sequence[Listener]], int]
    done: Any
    history: Any
    is_confirmed: bool = False


def _revoke(rows: Sequence[Listener]) -> int:
    revoke(listener=rows)
    return len(rows)


def _replay(rows: Sequence[Listener]) -> int:
    return operations.replay(rows, timezone.now() - REPLAYED)


OPERATIONS = (
    Operation(
        "start",
        _("Start"),
        _("Streams can be opened again. Delivery continues where it stopped."),
        operations.start,
        ngettext_lazy("%(count)d listener started.", "%(count)d listeners started.", "count"),
        _("Started."),
    ),
    Operation(
        "stop",
        _("Stop"),
        _("Open streams end on every server. New messages wait in the queue."),
        operations.stop,
        ngettext_lazy(
            "%(count)d listener stopped: its streams end, and new messages wait.",
            "%(count)d listeners stopped: their streams end, and new messages wait.",
            "count",
        ),
        _("Stopped."),
    ),
    Operation(
        "disconnect",
        _("Disconnect now"),
        _("Open streams end on every server. A browser reconnects by itself."),
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
        _(
            "Open streams end on every server, and tickets (signed URLs) issued until now are no "
            "longer valid. An owner who is logged in can open a stream again."
        ),
        _revoke,
        ngettext_lazy(
            "Access to %(count)d listener revoked: its streams end on every server, and "
            "tickets issued until now are no longer valid.",
            "Access to %(count)d listeners revoked: their streams end on every server, and "
            "tickets issued until now are no longer valid.",
            "count",
        ),
        _("Revoked access."),
        is_confirmed=True,
    ),
    Operation(
        "replay",
        _("Replay the last hour"),
        _("The messages of the last hour are sent again, with the same positions."),
        _replay,
        ngettext_lazy(
            "%(count)d listener gets the messages of the last hour again.",
            "%(count)d listeners get the messages of the last hour again.",
            "count",
        ),
        _("Replayed the last hour."),
        is_confirmed=True,
    ),
    Operation(
        "discard",
        _("Discard waiting messages"),
        _(
            "The messages that are waiting now are never delivered. Other listeners keep theirs. "
            "This cannot be undone."
        ),
        operations.discard,
        ngettext_lazy(
            "Waiting messages of %(count)d listener discarded.",
            "Waiting messages of %(count)d listeners discarded.",
            "count",
        ),
        _("Discarded the waiting messages."),
        is_confirmed=True,
    ),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
