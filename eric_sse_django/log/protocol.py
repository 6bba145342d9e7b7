"""The interface of a log: what hubs, notifiers and channels call, and the values it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

from eric_sse_django.entry import NO_CHANNEL, Entry
from eric_sse_django.log.address import Recipient
from eric_sse_django.log.dialect import CHANNEL, CREATED_AT, PAYLOAD
from eric_sse_django.log.page import Page

# Messages of a segment at most, bytes of their payloads together, and of one payload where these
# cannot be added up. PostgreSQL sends the rows before it commits: with 14 MB, a client
# that did not read them kept the head locked. These fit into any connection's buffers.
SEGMENT_MESSAGES = 128
SEGMENT_BYTES = 32_768
SEGMENT_PAYLOAD_BYTES = 4_096


@dataclass(slots=True)
class Draft:
    """A message before it is in the log; `channel`, `listener` and `owner` are keys."""

    channel: int
    kept_s: float
    perishable: bool
    type: str
    payload: str
    listener: int | None = None
    owner: Any = None
    sender: str | None = None
    uid: str | None = None


class Known(NamedTuple):
    """
    What a reader remembers of the log: the position it has read, and the message there.

    `stamp` is when the message at `position` was published, as the log gives it; None
    where that is not known. `trimmed` is the highest position that was removed. `log` is what
    identifies the log, where something does: a copy of its database has another one.
    """

    position: int
    stamp: Any = None
    trimmed: int = 0
    log: str = ""


class Head(NamedTuple):
    """The last position that was given, and whether messages wait for one."""

    position: int
    waits: bool


class ChannelSegment(NamedTuple):
    """
    The part of a segment that is of one channel: `entries`, or None where they are too many.

    The channel has no message between `after` and the first one. No notice, of NO_CHANNEL, is
    after `notices` and before the last one. `known` is the log at the last one.
    """

    channel: int
    after: int
    notices: int
    known: Known
    entries: list[Entry] | None


class Segment(NamedTuple):
    """
    What one call of sequence() gave positions to: all that is between `before` and `known`.

    A reader that is at `before` has with it all that a look would find. `channels` are those of
    its messages; `entries` has all of them in order, or is None where they are too many. `afters`
    has, for each of the channels and for NO_CHANNEL, a position: its last message up to
    `before` is not after that.
    """

    before: Known
    known: Known
    channels: frozenset[int]
    entries: list[Entry] | None
    afters: Mapping[int, int] | None = None

    def by_channel(self) -> list[ChannelSegment]:
        """Return the segments of its channels: none without `afters`, or if it has a notice."""
        if self.afters is None or NO_CHANNEL in self.channels:
            return []
        shares: dict[int, list[Entry]] = {}
        for entry in self.entries or ():
            shares.setdefault(entry.channel, []).append(entry)
        notices = self.afters[NO_CHANNEL]
        return [
            ChannelSegment(
                channel, self.afters[channel], notices, *self._share(shares.get(channel))
            )
            for channel in shares or self.channels
        ]

    def _share(self, entries: list[Entry] | None) -> tuple[Known, list[Entry] | None]:
        """Return what is known at the last entry of a channel; without entries, at the end."""
        if entries is None:
            return self.known, None
        at = self.known._replace(position=entries[-1].position, stamp=entries[-1].stamp)
        return at, entries


def segment_of(
    head: Sequence[Any], rows: Sequence[Sequence[Any]], entries_of: Callable[[Any], list[Entry]]
) -> Segment:
    """
    Return the segment of rows that follow a head's mark(), within the bounds.

    The rows are in order, with dialect.columns(); `entries_of` is the dialect's.
    """
    position, marked, stamp, trimmed, log = head
    before = Known(position, stamp if marked == position else None, trimmed, log)
    known = Known(rows[-1][0], rows[-1][CREATED_AT], trimmed, log)
    sizes = [SEGMENT_BYTES + 1 if row[PAYLOAD] is None else len(row[PAYLOAD]) for row in rows]
    entries = entries_of(rows) if sum(sizes) <= SEGMENT_BYTES else None
    return Segment(before, known, frozenset(row[CHANNEL] for row in rows), entries)


def is_next(segment: Segment, known: Known) -> bool:
    """Return whether a segment is what comes next for a reader, in the history that it knows."""
    before = segment.before
    if before.position != known.position or known.log not in ("", before.log):
        return False
    return None in (known.stamp, before.stamp) or known.stamp == before.stamp


class Between(NamedTuple):
    """The last position that each channel got between two, and what `trimmed` was: see Known."""

    lasts: Mapping[int, int]
    trimmed: int


# Channels, or the position for each from which on its entries are wanted.
Channels: TypeAlias = "Iterable[int] | Mapping[int, int]"
PassOn: TypeAlias = Callable[[Segment], object]


class Look(NamedTuple):
    """
    What the log has now: its head, whether messages wait for a position, and the new entries.

    `is_same` is false if this is not the history that the reader knows; `entries` is empty then.
    """

    head: Known
    waits: bool
    entries: list[Entry]
    is_same: bool = True


class Found(NamedTuple):
    """
    A page of a replica, which may have it up to `upto`; its head was `head`.

    If it `is_proven`, the replica is of the log that the reader knows; else the log must have
    `head` as the replica has it.
    """

    page: Page
    upto: int
    head: Known
    is_proven: bool


class AnotherLog(Exception):
    """A replica has what is not in the log: its database went back, or was written to."""


class Replica(Protocol):
    """A copy of a log that may be late, from any thread; nothing is ever written to it."""

    def read(
        self, recipients: Sequence[Recipient], known: Known, upto: int, limit: int, /
    ) -> Found | None:
        """
        Return a page as Log.read() does, of what the replica has; None where that is nothing.

        `known` is what the caller knows of the log. Raises AnotherLog.
        """
        ...


class Log(Protocol):
    """
    Messages in one order: each gets its position after it was appended, by sequence().

    Positions rise, and no entry appears below one that was read. All methods are safe to call
    from any thread, and may wait for a database.
    """

    def connect(self) -> Any:
        """
        Prepare the calling thread before its calls: reconnects where that is needed.

        look() and follow() do that by themselves.
        """

    def append(self, drafts: Sequence[Draft], /) -> None:
        """Add messages in their order: all or none. They have no position yet."""

    def sequence(self, pass_on: PassOn | None = None, /) -> int:
        """
        Give positions to a batch of the messages that wait for one; return how many.

        Then calls `pass_on` with them, after the commit: not where that is the caller's, nor
        where nothing got a position. What it raises, sequence() raises.
        """
        ...

    def head(self) -> Head:
        """Return the last position that was given, and whether messages wait for one."""
        ...

    def follow(self, seen: int | None = None, /) -> Known:
        """
        Return the head, from which a reader begins to follow the log.

        `seen` is the position of a reader whose history has ended (see Look): a new history
        begins, above every position that was ever given, unless another reader has begun it.
        """
        ...

    def look(self, known: Known, channels: Channels | None, limit: int, /) -> Look:
        """
        Return the first entries of some channels (None: all) after a reader's position.

        `limit` at most; also expired ones, until they are removed. Of channels with positions
        those at these or after them.
        """
        ...

    def channels_between(self, known: Known, upto: int, limit: int, /) -> Between | None:
        """
        Return the channels of all messages in (known.position, upto].

        None where these are more than `limit`, or where the message at the known position was
        removed, or is not the one that is known.
        """
        ...

    def read(self, recipients: Sequence[Recipient], upto: int | None, limit: int, /) -> Page:
        """
        Return the first entries that are addressed to the recipients, in one order.

        For each those in (after, upto], none that is expired, `limit` together at most; `upto`
        is a position that was given, None for the head. Where messages were removed that a
        recipient has not seen, and where a history begins, an `eric-reset` is in their place.
        Of more than MAX_WAITING_MESSAGES for a listener only the newest are returned, after
        a reset.
        """
        ...

    def replica(self) -> Replica | None:
        """Return a copy from which backlogs may be read, None for none."""
        ...

    def position_at(self, moment: datetime, /) -> int:
        """Return a position that is before all that was published since a moment."""
        ...

    def trim(self) -> int:
        """Remove a batch of what has passed its retention, oldest first; return how many."""
        ...
