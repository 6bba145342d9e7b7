"""What a durable channel publishes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eric_sse_django import log, notifier
from eric_sse_django.database.rows import check_owner, listener_row
from eric_sse_django.entities import AbstractChannel
from eric_sse_django.message import MessageContract
from eric_sse_django.models import Channel


class Publisher(AbstractChannel):
    """
    A channel whose messages are rows of the log.

    `expires_in_s` is after how many seconds a message is delivered to nobody any more, where
    that is not as the channel says. All raise InvalidMessageFormat for what cannot be sent.
    """

    row: Channel

    def dispatch(
        self, listener_id: str, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """
        Publish to one listener: one row.

        Raises InvalidListenerException for an unknown id.
        """
        row = listener_row(self.row, listener_id)
        self._publish([log.row(self.row, msg, listener=row.pk, expires_in_s=expires_in_s)])

    def dispatch_to_owner(
        self, user: Any, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """Publish to all listeners that a user owns, now or when they read it: one row."""
        check_owner(user)
        self._publish([log.row(self.row, msg, owner=user.pk, expires_in_s=expires_in_s)])

    def broadcast(self, msg: MessageContract, *, expires_in_s: float | None = None) -> None:
        """Publish to all listeners: one row, however many they are."""
        self._publish([log.row(self.row, msg, expires_in_s=expires_in_s)])

    def broadcast_many(
        self, msgs: Iterable[MessageContract], *, expires_in_s: float | None = None
    ) -> None:
        """Publish several messages to all listeners, in their order: all of them or none."""
        rows = [log.row(self.row, msg, expires_in_s=expires_in_s) for msg in msgs]
        if rows:
            self._publish(rows)

    def _publish(self, rows: Sequence[log.Draft]) -> None:
        log.append(rows)
        notifier.ring_on_commit()
