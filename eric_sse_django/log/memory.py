"""A log in memory: the guarantees of the database's for one process, as long as it runs."""

from __future__ import annotations

import heapq
import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import uuid4

from eric_sse_django import conf
from eric_sse_django.entry import CONTROLS, RESERVED_PREFIX, Entry
from eric_sse_django.log.address import END, Address, Recipient
from eric_sse_django.log.dialect import moment_of
from eric_sse_django.log.history import is_same, next_base, number_of
from eric_sse_django.log.lifetime import UNREAD_S
from eric_sse_django.log.page import Page, position_of
from eric_sse_django.log.protocol import (
    SEGMENT_BYTES,
    SEGMENT_MESSAGES,
    Between,
    Channels,
    Draft,
    Head,
    Known,
    Look,
    PassOn,
    Segment,
)
from eric_sse_django.log.reader import MAX_CONTROLS
from eric_sse_django.log.reset import add_resets
from eric_sse_django.log.retention import TRIM_BATCH
from eric_sse_django.log.sequencer import SEQUENCE_BATCH

# Positions of a millisecond: more than can be given in one, and those of an hour are within the
# positions of a history.
POSITIONS_A_MS = 10_000


class MemoryLog:
    """
    A Log without a database, for one process. Thread-safe; no call waits.

    Memory is bounded by the messages' retention: trim() removes those whose time has ended. A
    new one begins after all positions of earlier ones, so that clients of a process that
    was restarted get an `eric-reset`.
    """

    _last_start = 0  # of all in this process

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: deque[tuple[Draft, float]] = deque()  # with the times of publishing
        self._entries: list[Entry] = []
        self._by_channel: dict[int, list[Entry]] = {}
        self._ends: list[tuple[float, int, Entry, bool]] = []  # a heap; whether one is a loss
        self._floors: dict[Address, int] = {}
        now = time.time()
        start = next_base(0) + int(now % 3_600 * 1_000) * POSITIONS_A_MS
        # Two may begin in one millisecond, and clocks go back.
        self._began = max(start, MemoryLog._last_start + POSITIONS_A_MS)
        MemoryLog._last_start = self._began
        self._known = Known(self._began, log=uuid4().hex)

    def connect(self) -> None:
        """Do nothing: there is no connection."""

    def append(self, drafts: Sequence[Draft], /) -> None:
        now = time.time()
        with self._lock:
            self._pending.extend((draft, now) for draft in drafts)

    def sequence(self, pass_on: PassOn | None = None, /) -> int:
        with self._lock:
            before = self._known
            count = min(len(self._pending), SEQUENCE_BATCH)
            for _ in range(count):
                self._give_position(*self._pending.popleft())
            given, known = self._entries[len(self._entries) - count :], self._known
        if count and pass_on is not None:
            channels = frozenset(entry.channel for entry in given)
            # Read in parts, so that streams write in between: as the database's.
            fits = count <= SEGMENT_MESSAGES and sum(each.size for each in given) <= SEGMENT_BYTES
            pass_on(Segment(before, known, channels, given if fits else None))
        return count

    def _give_position(self, draft: Draft, created_at: float) -> None:
        position, ends = self._known.position + 1, created_at + draft.kept_s
        entry = Entry(
            position,
            draft.channel,
            draft.listener,
            draft.owner,
            draft.type,
            draft.payload,
            draft.sender,
            draft.uid,
            created_at,
            ends if draft.perishable else None,
            moment_of,
        )
        self._entries.append(entry)
        self._by_channel.setdefault(draft.channel, []).append(entry)
        is_loss = not (draft.perishable or draft.type.startswith(RESERVED_PREFIX))
        if draft.perishable:  # hubs look at it once, also if it has expired
            ends += UNREAD_S + conf.get("POLL_INTERVAL_S")
        heapq.heappush(self._ends, (ends, position, entry, is_loss))
        self._known = self._known._replace(position=position, stamp=created_at)

    def head(self) -> Head:
        with self._lock:
            return Head(self._known.position, bool(self._pending))

    def follow(self, seen: int | None = None, /) -> Known:
        with self._lock:
            if seen is not None and number_of(self._known.position) <= number_of(seen):
                self._began = next_base(max(self._known.position, seen))
                self._known = self._known._replace(position=self._began, stamp=None)
            return self._known

    def look(self, known: Known, channels: Channels | None, limit: int, /) -> Look:
        among: Mapping[int, int] | None = None
        if channels is not None:
            among = channels if isinstance(channels, Mapping) else dict.fromkeys(channels, 0)
        with self._lock:
            head, waits = self._known, bool(self._pending)
            first = bisect_left(self._entries, known.position, key=position_of)
            past = None
            if first < len(self._entries) and self._entries[first].position == known.position:
                past = self._entries[first].stamp
                first += 1
            if not is_same(known, head, past):
                return Look(head, waits, [], False)
            found = (
                entry
                for entry in islice(self._entries, first, None)
                if among is None or among.get(entry.channel, END) <= entry.position
            )
            return Look(head, waits, list(islice(found, limit)))

    def channels_between(self, known: Known, upto: int, limit: int, /) -> Between | None:
        with self._lock:
            first = bisect_left(self._entries, known.position, key=position_of)
            last = bisect_right(self._entries, upto, key=position_of)
            found = self._entries[first : min(last, first + limit + 2)]
            trimmed = self._known.trimmed
        if not found or len(found) > limit + 1:
            return None
        past, *new = found
        if (past.position, past.stamp) != known[:2]:
            return None
        return Between({entry.channel: entry.position for entry in new}, trimmed)

    def read(self, recipients: Sequence[Recipient], upto: int | None, limit: int, /) -> Page:
        with self._lock:
            upto = self._known.position if upto is None else upto
            pages = [
                self._read(recipient, upto, limit, len(recipients) - number)
                for number, recipient in enumerate(recipients, start=1)
            ]
        return Page.merged(pages, limit)

    def _read(self, recipient: Recipient, upto: int, limit: int, before_base: int) -> Page:
        gone = self._too_old(recipient, upto)
        start = recipient.after if gone is None else gone
        found = list(islice(self._alive(recipient, start, upto), limit))
        page = Page(found, found[-1].position if len(found) == limit else upto)
        floors = {max(self._floors.get(to, 0) for to in recipient.addresses())}
        if self._began <= upto:
            floors.add(self._began - before_base)
        controls: list[Entry] = []
        if gone is not None:
            skipped = self._of(recipient, recipient.after, gone)
            controls = [entry for entry in skipped if entry.type in CONTROLS][-MAX_CONTROLS:]
        return add_resets(page, recipient, floors, gone, controls)

    def _too_old(self, recipient: Recipient, upto: int) -> int | None:
        """As limits.too_old()."""
        most: int | None = conf.get("MAX_WAITING_MESSAGES")
        if most is None or recipient.listener is None or upto - recipient.after <= most:
            return None
        waiting = [
            entry.position
            for entry in self._alive(recipient, recipient.after, upto)
            if entry.type not in CONTROLS
        ]
        return waiting[-most - 1] if len(waiting) > most else None

    def _alive(self, recipient: Recipient, after: int, upto: int) -> Iterator[Entry]:
        now = time.time()
        return (entry for entry in self._of(recipient, after, upto) if not entry.is_expired(now))

    def _of(self, recipient: Recipient, after: int, upto: int) -> Iterator[Entry]:
        """Yield what is addressed to a recipient in (after, upto]."""
        entries = self._by_channel.get(recipient.channel, [])
        first = bisect_right(entries, after, key=position_of)
        last = bisect_right(entries, upto, key=position_of)
        for entry in islice(entries, first, last):
            if entry.addressed(recipient.listener, recipient.owner):
                yield entry

    def replica(self) -> None:
        """Return none: there is no copy."""

    def position_at(self, moment: datetime, /) -> int:
        with self._lock:
            if not self._entries:
                return self._known.position
            first = bisect_left(self._entries, moment.timestamp(), key=_published_at)
            return self._entries[first - 1].position if first else self._entries[0].position - 1

    def trim(self) -> int:
        now, removed = time.time(), 0
        with self._lock:
            while self._ends and self._ends[0][0] < now and removed < TRIM_BATCH:
                _, position, entry, is_loss = heapq.heappop(self._ends)
                of_channel = self._by_channel[entry.channel]
                for entries in (self._entries, of_channel):
                    del entries[bisect_left(entries, position, key=position_of)]
                if not of_channel:
                    del self._by_channel[entry.channel]
                if is_loss:
                    to = Address(entry.channel, entry.listener, entry.owner)
                    self._floors[to] = max(position, self._floors.get(to, 0))
                trimmed = max(position, self._known.trimmed)
                self._known = self._known._replace(trimmed=trimmed)
                removed += 1
        return removed


def _published_at(entry: Entry) -> Any:
    return entry.stamp
