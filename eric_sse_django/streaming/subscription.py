"""One channel of a stream, for a listener of it or for a watcher."""

from __future__ import annotations

from typing import Any

from eric_sse_django.entry import Entry
from eric_sse_django.log import number_of
from eric_sse_django.models import Channel, Listener


class Subscription:
    """
    A channel with the listener whose messages are wanted, or (None) its broadcasts alone.

    It gets what comes after `after`, which may be higher than the stream's cursor: the
    subscriptions of a stream begin at different positions. `stored` is the listener's cursor
    in the database, or soon there. A listener begins after its `start` at the earliest, and a
    watcher after `since`.
    """

    __slots__ = (
        *("after", "by_client", "channel", "listener", "owner", "replays", "runs"),
        *("start", "stored"),
    )

    def __init__(self, channel: Channel, listener: Listener | None = None, since: int = 0) -> None:
        self.channel: int = channel.pk
        self.listener: int | None = listener.pk if listener else None
        self.owner: Any = listener.owner_id if listener else None
        self.runs = bool(listener and listener.running)
        self.by_client = bool(
            listener and listener.acknowledgement == Listener.Acknowledgement.CLIENT.value
        )
        self.start = listener.start if listener else since
        self.stored = listener.cursor if listener else 0
        self.replays = listener.replays if listener else 0
        self.after = 0

    def begin(self, asked: int | None, head: int) -> bool:
        """
        Begin after the position that is asked for, else the listener's cursor, else `head`.

        A position above the head is invalid, and one of another history is not reliable: a
        listener never begins after its cursor then. Returns whether it gets all that
        follows the position that is asked for.
        """
        first = head if self.listener is None else self.stored
        is_known = asked is None or asked <= head
        if asked is not None and is_known:
            is_old = self.listener is not None and number_of(asked) != number_of(head)
            first = min(asked, first) if is_old else asked
        self.after = min(max(first, self.start), head)
        return is_known and (self.listener is not None or asked is None or asked >= self.start)

    def gets(self, entry: Entry) -> bool:
        """Return whether an entry of the channel is for it, and came after it began."""
        return entry.position > self.after and entry.addressed(self.listener, self.owner)
