"""
The rows that an operation changes, and their messages: one INSERT in the same transaction.

What is published is what the database has at the end of the operation, not what an object has in
memory: an object may be older than its row, or have an expression as a value.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, transaction

from eric_sse_django import conf, hypermedia, log, notifier
from eric_sse_django.broadcasts.declaration import Broadcast, Content, Recipient
from eric_sse_django.broadcasts.registry import broadcasts_of
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.database.channel import known_channel, publish_to
from eric_sse_django.database.rows import channel_row
from eric_sse_django.exception import InvalidChannelException
from eric_sse_django.models import Channel

logger = logging.getLogger(__name__)

# Rows of one operation that are published one by one to a channel that is the same for all rows;
# of more, pages load all rows again.
MAX_ROWS = 1_000
# Rows that are read in one query: SQLite and Oracle limit the parameters of a statement.
READ_ROWS = 500

# Where a row was published before an operation: for each broadcast of its model.
Before = list[tuple[Recipient, ...]]


class Batch:
    """The rows that one operation has changed so far."""

    def __init__(self, using: str) -> None:
        self.using = using
        # Whether it is new, and where it was published before.
        self.rows: dict[tuple[Any, Any], tuple[bool, Before | None]] = {}
        self.reloads: dict[Any, None] = {}
        # Where rows that will change are published, read for many of them at once.
        self.states_before: dict[tuple[Any, Any], Before] = {}

    def read_before(self, model: Any, keys: Sequence[Any]) -> None:
        """Find where rows are published, before an operation changes them one by one."""
        for key, found in before(model, self.using, keys).items():
            self.states_before[model._meta.concrete_model, key] = found

    def note(
        self, model: Any, key: Any, is_new: bool = False, before: Before | None = None
    ) -> None:
        """Record a row. What is known of it from before stays."""
        # An object may have its key as it was given: "7", or the text of a UUID.
        place = (model._meta.concrete_model, model._meta.pk.to_python(key))
        was_new, known = self.rows.get(place, (is_new, None))
        self.rows[place] = (was_new and is_new, before if known is None else known)

    def note_all(self, model: Any) -> None:
        """Record that any row of the model may have changed. Raises ImproperlyConfigured."""
        for each in broadcasts_of(model):
            each.everyone()
        self.reloads[model._meta.concrete_model] = None

    def publish(self) -> None:
        """Publish the messages for all rows. Waits for the rows, which it locks."""
        drafts = list(self._messages())
        if drafts:
            _publish(self.using, drafts)

    def _messages(self) -> Iterator[tuple[Broadcast, Recipient, Content]]:
        keys: dict[Any, list[Any]] = {}
        for model, key in self.rows:
            keys.setdefault(model, []).append(key)
        for model in self.reloads:
            keys.setdefault(model, [])
        for model, found in keys.items():
            yield from self._of_model(model, found)

    def _of_model(
        self, model: Any, keys: list[Any]
    ) -> Iterator[tuple[Broadcast, Recipient, Content]]:
        every = broadcasts_of(model)
        as_one = model in self.reloads or len(keys) > MAX_ROWS
        for each in every:
            if as_one and each.is_static:
                yield from ((each, each.everyone(), content) for content in each.reload(model))
        rest = [(n, each) for n, each in enumerate(every) if not (as_one and each.is_static)]
        for first in range(0, len(keys) if rest else 0, READ_ROWS):
            some = keys[first : first + READ_ROWS]
            there = {row.pk: row for row in locked(model, self.using, some)}
            for key in some:
                for number, each in rest:
                    yield from self._of_row(model, key, there.get(key), number, each)

    def _of_row(
        self, model: Any, key: Any, row: Any, number: int, broadcast: Broadcast
    ) -> Iterator[tuple[Broadcast, Recipient, Content]]:
        is_new, before = self.rows[model, key]
        old = () if before is None else before[number]
        if broadcast.is_static and not is_new:
            old = (broadcast.everyone(),)
        now = () if row is None else broadcast.recipients(row)
        for recipient in now:
            # Those that did not have the row get it as a new one.
            first = is_new or (recipient not in old and not broadcast.is_static)
            yield from ((broadcast, recipient, each) for each in broadcast.saved(row, first))
        for recipient in old:
            if recipient not in now:
                yield from ((broadcast, recipient, c) for c in broadcast.deleted(model, key))


_local = threading.local()


@contextmanager
def changing(using: str) -> Iterator[Batch]:
    """
    Collect what an operation changes; publish it at the end, in the transaction of the change.

    Within another operation, its messages are those of the outer one.
    """
    open_batches: dict[str, Batch] = _local.__dict__.setdefault("batches", {})
    outer = open_batches.get(using)
    if outer is not None:
        yield outer
        return
    # An error of the change has in a caller's transaction the effect that Django gives it; an
    # error of publishing rolls the transaction back.
    is_within = connections[using].in_atomic_block
    with nullcontext() if is_within else transaction.atomic(using=using):
        batch = open_batches[using] = Batch(using)
        try:
            yield batch
        except Exception:
            del open_batches[using]
            if is_within:
                _publish_what_stays(batch)
            raise
        del open_batches[using]
        with transaction.atomic(using=using, savepoint=False):
            batch.publish()


def _publish_what_stays(batch: Batch) -> None:
    """
    Publish what an operation changed before its error, if the caller's transaction may continue.

    An error of another receiver of post_save, for example, leaves the row in the transaction.
    """
    if connections[batch.using].needs_rollback:
        return
    try:
        with transaction.atomic(using=batch.using, savepoint=False):
            batch.publish()
    except Exception:
        # The transaction cannot commit any more; the caller gets the operation's own error.
        logger.debug("not published after an error of the operation", exc_info=True)


def before_of(model: Any, using: str, key: Any) -> Before | None:
    """Return where a row is published now, None if it is not there. Locks it."""
    batch: Batch | None = _local.__dict__.get("batches", {}).get(using)
    if batch is not None and (model._meta.concrete_model, key) in batch.states_before:
        return batch.states_before[model._meta.concrete_model, key]
    return next(iter(before(model, using, [key]).values()), None)


def locked(model: Any, using: str, keys: Sequence[Any]) -> list[Any]:
    """
    Return the rows with these keys as they are now, locked until the transaction ends.

    Without the lock, another transaction could change a row and commit before this one, and its
    message would come first. MariaDB reads only locked rows as they are now.
    """
    rows: Any = models.QuerySet(model, using=using).filter(pk__in=keys).order_by("pk")
    if connections[using].features.has_select_for_update:
        rows = rows.select_for_update()
    return list(rows)


def before(model: Any, using: str, keys: Sequence[Any]) -> dict[Any, Before]:
    """Return where rows are published now, by key. Locks them."""
    every = broadcasts_of(model)
    found = {}
    for first in range(0, len(keys), READ_ROWS):
        for row in locked(model._meta.concrete_model, using, keys[first : first + READ_ROWS]):
            found[row.pk] = [each.recipients(row) for each in every]
    return found


# Publishing ---------------------------------------------------------------------------


class _Mark:
    """Marks in a transaction that a message was published; rolled back with its savepoint."""

    def __call__(self) -> None:
        pass


# Messages by which pages load rows, and their marks, in the order of the transaction.
Marks = list[tuple[Content, _Mark]]


def _is_first(using: str, marks: Marks, content: Content) -> bool:
    """Return whether no mark of the transaction is of this content; mark it."""
    # Django drops what a savepoint registered when it is rolled back, as its messages are.
    registered = {id(each[1]) for each in connections[using].run_on_commit}
    marks[:] = [each for each in marks if id(each[1]) in registered]
    if any(known == content for known, _ in marks):
        return False
    marks.append((content, _Mark()))
    transaction.on_commit(marks[-1][1], using=using)
    return True


def _publish(using: str, found: Iterable[tuple[Broadcast, Recipient, Content]]) -> None:
    if using != log.database():
        raise ImproperlyConfigured(
            f"The model is in the database {using!r}, the log in {log.database()!r}: one "
            "transaction cannot change both. Route them to the same database, or publish in "
            "transaction.on_commit()."
        )
    wanted = [each for each in found if _is_wanted(using, *each[1:])]
    channels: dict[tuple[str, bool], Channel] = {}
    drafts = []
    for broadcast, to, content in wanted:
        place = to.channel, broadcast.as_html
        if place not in channels:
            channels[place] = _channel(broadcast, to.channel, is_one=len(wanted) == 1)
        drafts.append(
            log.draft(
                *(channels[place], content.type, content.payload),
                owner=to.owner,
                is_html=broadcast.as_html,
            )
        )
    if len(drafts) == 1:
        publish_to(next(iter(channels.values())), drafts[0], None, None)
    elif drafts:
        notifier.publish(drafts)


def _is_wanted(using: str, to: Recipient, content: Content) -> bool:
    """
    Return whether it has to be published: one that loads rows once for each transaction.

    Again after another message to the recipient: pages apply that to what they have loaded, and
    it may be older than the last change.
    """
    marks: dict[tuple[str, Recipient], Marks] = _local.__dict__.setdefault("marks", {})
    if not content.loads_rows:
        marks.pop((using, to), None)
        return True
    if not connections[using].run_on_commit:
        marks.clear()  # of earlier transactions
    return _is_first(using, marks.setdefault((using, to), []), content)


def _channel(broadcast: Broadcast, name: str, is_one: bool) -> Channel:
    """Return the row of a channel; create it if its id depends on the row that is published."""
    is_fixed = isinstance(broadcast.channel, str)
    # publish_to() finds out whether what is known still holds, but creates no channel.
    find = known_channel if is_one and is_fixed else channel_row
    try:
        row = find(name)
    except InvalidChannelException:
        if is_fixed or name in conf.channels():
            raise
        row = DatabaseChannel.get_or_create(name, format=_format(broadcast)).row
    return hypermedia.with_text(row) if broadcast.as_html else row


def _format(broadcast: Broadcast) -> str:
    return "text" if broadcast.as_html else "json"
