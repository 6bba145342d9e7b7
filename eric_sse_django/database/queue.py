"""A listener's queue in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.db import connections
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.alarm import Undo, Wake
from eric_sse_django.database.events import message_of
from eric_sse_django.database.twins import methods_have_twins, twin_of
from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.exception import (
    InvalidListenerException,
    NoMessagesException,
    RepositoryError,
)
from eric_sse_django.hub import Hub
from eric_sse_django.message import MessageContract
from eric_sse_django.models import Listener
from eric_sse_django.queues import Queue

# Positions without a message for the listener that each pop() may read again; after more, its
# cursor moves to their end. With 60,000 expired messages that were not removed yet, each pop()
# took 33 ms on SQLite, 107 on PostgreSQL and 195 on MariaDB.
MAX_READ_AGAIN = 1_000


@methods_have_twins
class DatabaseQueue(Queue):
    """
    The messages that a listener has not been served: broadcasts and its own, oldest first.

    Any number of processes may push and pop. The queue and the listener's streams share its
    cursor: each message is taken by one of them.
    """

    def __init__(self, row: Listener) -> None:
        self.row = row

    def __eq__(self, other: object) -> bool:
        """Whether it is the queue of the same listener."""
        return isinstance(other, DatabaseQueue) and self.row == other.row

    def __hash__(self) -> int:
        return hash(self.row)

    def pop(self) -> MessageContract:
        """
        Remove and return the oldest message; two callers never get the same one.

        Never waits for one. The cursor moves with the caller's transaction. A message of type
        `eric-reset` stands for unread messages that retention removed. Raises
        NoMessagesException when the queue is empty, InvalidListenerException when the listener
        was removed, RepositoryError when the database fails.
        """
        return message_of(self.take())

    def take(self) -> Entry:
        """As pop(), but return the log's entry, which has the position."""
        with _store_errors():
            return self._take()

    def push(self, message: MessageContract) -> None:
        """
        Add a message for this listener when the caller's transaction commits.

        Raises InvalidMessageFormat for a message that cannot be sent, RepositoryError when the
        database fails.
        """
        with _store_errors():
            notifier.publish([log.row(self.row.channel, message, listener=self.row.pk)])

    async def apop(self) -> MessageContract:
        """As pop()."""
        return await sync_to_async(self.pop)()

    apush = twin_of(push)

    def watch(self, wake: Wake) -> Undo | None:
        """Call wake() whenever the running loop's hub has got something. See Queue.watch()."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return None
        return Hub.for_running_loop().add_waker(wake, self.row.channel_id)

    def __len__(self) -> int:
        """Return how many messages with a position wait."""
        self.row.refresh_from_db(fields=["cursor"])
        return log.waiting(self.row)

    def _take(self) -> Entry:
        listeners = Listener.objects.filter(pk=self.row.pk)
        settled = False
        while True:
            found = listeners.values_list("channel_id", "owner_id", "cursor").first()
            if found is None:
                raise InvalidListenerException(self.row.name, self.row.channel.name)
            channel, owner, cursor = found
            head, _ = log.head()
            page = log.read([log.Recipient(channel, self.row.pk, owner, cursor)], head, limit=1)
            if not page and page.reached < head:
                continue  # the row was removed during the read
            if not page and settled:
                if head - cursor > MAX_READ_AGAIN:
                    listeners.filter(cursor=cursor).update(cursor=head)
                raise NoMessagesException(listener_id=self.row.name)
            if not page:
                # Read again in any case: another process may have sequenced just before.
                notifier.settle()
                settled = True
                continue
            entry = page[0]
            # Compare and swap: the caller that moves the cursor has the message.
            moved = listeners.filter(cursor=cursor).update(
                cursor=entry.position, last_seen=timezone.now()
            )
            if moved and entry.type not in CONTROLS:
                return entry
            if not moved and connections[listeners.db].in_atomic_block:
                # MariaDB at REPEATABLE READ shows a new cursor only to a locking read.
                listeners = listeners.select_for_update()


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise RepositoryError(error) from error
