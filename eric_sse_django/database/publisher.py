"""What a durable channel publishes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eric_sse_django import log, notifier
from eric_sse_django.database.arguments import TO_ALL, listener_id_of, narrowed, owner_key
from eric_sse_django.database.known import refreshed
from eric_sse_django.database.rows import listener_row, unknown_channel
from eric_sse_django.entities import AbstractChannel
from eric_sse_django.exception import InvalidListenerException
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
        self, listener_id: Any, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """
        Publish to one listener, or to that with this id: one row, one statement.

        Raises InvalidListenerException for an unknown id.
        """
        try:
            name = listener_id_of(listener_id)
        except TypeError:
            raise InvalidListenerException(listener_id, self.row.name) from None
        publish(self.row, msg, listener_id=name, expires_in_s=expires_in_s)

    def dispatch_to_owner(
        self, user: Any, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """
        Publish to all listeners that a user (or its key) owns, now or when they read it: one row.

        Raises ValueError for None and for a user that is not saved, TypeError for no user.
        """
        owner = owner_key(narrowed("user", user))
        self._publish([log.row(self.row, msg, owner=owner, expires_in_s=expires_in_s)])

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


def publish(
    channel: Channel,
    msg: MessageContract,
    *,
    listener_id: Any = TO_ALL,
    owner: Any = TO_ALL,
    expires_in_s: float | None = None,
) -> None:
    """
    Publish to a channel whose row may have been read long ago, in one statement.

    To all, to one listener (or that with this id), or to a user's (or those of that key).
    Where the channel is no longer as it was read, it is read again, by its id.

    Raises InvalidChannelException and InvalidListenerException for what is not there,
    InvalidMessageFormat for the message, ValueError for None, TypeError for another address.
    """
    if listener_id is not TO_ALL and owner is not TO_ALL:
        raise ValueError("Give listener_id or owner, not both.")
    name = None if listener_id is TO_ALL else listener_id_of(narrowed("listener_id", listener_id))
    key = None if owner is TO_ALL else owner_key(narrowed("owner", owner))

    def is_appended(row: Channel) -> bool:
        draft = log.row(row, msg, owner=key, expires_in_s=expires_in_s)
        return log.append_to(row, draft, name)

    if not is_appended(channel):
        channel = refreshed(channel.name)
        if name is not None:
            listener_row(channel, name)
        if not is_appended(channel):
            raise unknown_channel(channel.name)  # it was removed this moment
    notifier.ring_on_commit()
