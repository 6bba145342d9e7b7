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
from eric_sse_django.database.messages import message_of
from eric_sse_django.database.twins import methods_have_twins
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

# Positions without a message for the listener that are looked through again and again; of more,
# its cursor goes to their end. 60,000 expired messages that were not removed yet made each pop()
# take 33 ms on SQLite, 107 on PostgreSQL and 195 on MariaDB.
LOOKED_THROUGH = 1_000


@methods_have_twins
class DatabaseQueue(Queue):
    """
    What a listener has not been served: broadcasts and its own messages, oldest first.

    Any number of processes may push and pop. It shares the listener's cursor with its
    streams: what one has taken, the other does not see.
    """

    def __init__(self, row: Listener) -> None:
        self.row = row

    def __eq__(self, other: object) -> bool:
        """Whether it is the same listener's queue."""
        return isinstance(other, DatabaseQueue) and self.row == other.row

    def __hash__(self) -> int:
        return hash(self.row)

    def pop(self) -> MessageContract:
        """
        Remove and return the oldest message; two callers never get the same one.

        Never waits for one. The cursor moves with the caller's transaction. Where
        retention removed unread messages, one of type `eric-reset` stands for them.
        Raises NoMessagesException when the queue is empty, InvalidListenerException
        when the listener was removed, RepositoryError when the database fails.
        """
        return message_of(self.take())

    def take(self) -> Entry:
        """As pop(), with its position: the entry as it is in the log."""
        with _store_errors():
            return self._take()

    def push(self, message: MessageContract) -> None:
        """
        Add a message for this listener, if and when the caller's transaction commits.

        Raises InvalidMessageFormat for what cannot be sent, RepositoryError when the
        database fails.
        """
        with _store_errors():
            log.append([log.row(self.row.channel, message, listener=self.row.pk)])
            notifier.ring_on_commit()

    async def apop(self) -> MessageContract:
        """As pop()."""
        return await sync_to_async(self.pop)()

    async def apush(self, message: MessageContract) -> None:
        """As push()."""
        await sync_to_async(self.push)(message)

    def watch(self, wake: Wake) -> Undo | None:
        """Have wake() called after each look of the running loop's hub that found something."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return None
        return Hub.for_running_loop().add_waker(wake)

    def __len__(self) -> int:
        """Return how many messages, with a position, wait."""
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
            page = log.read(channel, self.row.pk, owner, cursor, head, limit=1)
            if not page and page.reached < head:
                continue  # what was found was removed while it was read
            if not page and settled:
                if head - cursor > LOOKED_THROUGH:
                    listeners.filter(cursor=cursor).update(cursor=head)
                raise NoMessagesException(listener_id=self.row.name)
            if not page:
                # Then read again whatever it did: another may have sequenced just before.
                notifier.settle()
                settled = True
                continue
            entry = page[0]
            # Compare and swap: whoever moves the cursor has the message.
            moved = listeners.filter(cursor=cursor).update(
                cursor=entry.position, last_seen=timezone.now()
            )
            if moved and entry.type not in CONTROLS:
                return entry
            if not moved and connections[listeners.db].in_atomic_block:
                # MariaDB at REPEATABLE READ shows its old cursor for ever, but to a lock.
                listeners = listeners.select_for_update()


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise RepositoryError(error) from error
