"""What a hub writes to the database: cursors, and its lease with its streams'."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.utils import timezone

from eric_sse_django import conf
from eric_sse_django.counters import Counters
from eric_sse_django.hub.arrivals import Change, stream_change
from eric_sse_django.hub.presence import Presence
from eric_sse_django.log import Known, database, dialect_of, is_as_known, lock_free
from eric_sse_django.outage import Outage
from eric_sse_django.signals import stream_closed, stream_opened

logger = logging.getLogger(__name__)

# Each costs the database 10 µs and this process as much, which delays the hub's reads: so
# those of many streams are written less often than once a second.
CURSORS_PER_S = 4_000
MAX_WRITE_REST_S = 10.0  # well within a lease

# Seconds between two rounds of writing: what is due before the next one is written in this one.
ROUND_S = 1.0

# Listeners written in one transaction: within every database's limit of parameters, and
# short enough that the reads of the log, on the same thread, need not wait for long.
WRITE_BATCH = 500

# Seconds between the lookup of a listener and the beginning of its stream: one that was
# looked up during a write has its old cursor. No longer, for an operator's replay lowers a
# cursor.
LOOKUP_S = 1.0

Run = Callable[..., Awaitable[Any]]


def _nothing_known() -> Known:
    return Known(0)


class Reached(NamedTuple):
    """
    The position up to which a listener, by its key, was served; and the row's count of replays.

    What was reached before an operator's replay is void: the row has another count then.
    """

    listener: int
    position: int
    replays: int = 0


class Cursors:
    """
    Collects positions and writes them in batches: one UPDATE for each distinct one.

    A position is due CURSOR_WRITE_S after the first that is not written, after
    CURSOR_WRITE_MESSAGES, or once it is hastened. `known` returns what the hub knows of the log:
    nothing is written to another one.
    """

    def __init__(self, known: Callable[[], Known] = _nothing_known) -> None:
        self.known = known
        self._reached: dict[int, Reached] = {}
        self._writing: dict[int, Reached] = {}
        self._written: dict[int, Reached] = {}
        self._written_at = 0.0
        # Of those in _reached: since when each waits, oldest first; the messages meanwhile; and
        # those that do not wait for CURSOR_WRITE_S.
        self._since: OrderedDict[int, float] = OrderedDict()
        self._messages: dict[int, int] = {}
        self._hastened: set[int] = set()
        self._read_settings()
        self._histories = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def dirty(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._reached)

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._reached)

    def reached(self, listener: int, position: int, replays: int = 0, messages: int = 0) -> None:
        """Note that a listener was served up to a position, by so many, and has been seen."""
        old = self._reached.get(listener)
        if old is None:
            self._since[listener] = time.monotonic()
        if old is None or (replays, position) >= (old.replays, old.position):
            self._reached[listener] = Reached(listener, position, replays)
        if messages and self._max_messages is not None:
            total = self._messages[listener] = self._messages.get(listener, 0) + messages
            if total >= self._max_messages:
                self._hastened.add(listener)

    def hasten(self, listener: int) -> None:
        """Write what a listener has reached in the next round."""
        if listener in self._reached:
            self._hastened.add(listener)

    def is_due(self, now: float) -> bool:
        """Return whether a position must be written at time.monotonic() `now`."""
        since = next(iter(self._since.values()), now)
        return bool(self._hastened or (self._since and now - since >= self._rest_s))

    def due(self, now: float) -> list[int] | None:
        """Return the listeners whose positions must be written at `now`; None for all."""
        if self._rest_s <= 0:
            return None
        due = list(self._hastened)
        for listener, since in self._since.items():
            if now - since < self._rest_s:
                break
            if listener not in self._hastened:
                due.append(listener)
        return due

    def unwritten(self, listener: int, replays: int = 0) -> int:
        """Return the position a listener has reached, 0 if a lookup has found it."""
        if time.monotonic() - self._written_at > LOOKUP_S:
            self._written = {}
        position = 0
        for lately in (self._reached, self._writing, self._written):
            found = lately.get(listener)
            if found is not None and found.replays == replays:
                position = max(position, found.position)
        return position

    def pending(self) -> list[Reached]:
        """Return what is not known to be written, by position."""
        merged = dict(self._writing)
        for each in self._reached.values():
            _keep_later(merged, each)
        return sorted(merged.values(), key=_position)

    def forget(self) -> None:
        """Drop all that waits or is being written: it was reached in another history."""
        self._histories += 1
        self._reached, self._writing, self._written = {}, {}, {}
        self._since.clear()
        self._messages.clear()
        self._hastened.clear()

    def final_calls(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that write what waits without a loop."""
        left, known = self.pending(), self.known()
        starts = range(0, len(left), WRITE_BATCH)
        return [(write, left[first : first + WRITE_BATCH], known) for first in starts]

    async def flush(self, run: Run, due: Iterable[int] | None = None) -> None:
        """
        Write what waits, of the listeners that are `due` (None: all), by `run` on its thread.

        What fails is due in the next round.
        """
        async with self._one_at_a_time:
            self._read_settings()
            if due is None:
                self._take_all()
            else:
                self._take(due)
            left, histories = sorted(self._writing.values(), key=_position), self._histories
            try:
                while left and histories == self._histories:
                    locked = await run(write, left[:WRITE_BATCH], self.known())
                    left = left[WRITE_BATCH:]
                    self._keep(locked, histories)
            finally:
                self._keep(left, histories)
                if histories == self._histories:
                    self._written, self._writing = self._writing, {}
                self._written_at = time.monotonic()

    def _read_settings(self) -> None:
        write_s, self._max_messages = conf.several("CURSOR_WRITE_S", "CURSOR_WRITE_MESSAGES")
        self._rest_s = write_s - ROUND_S

    def _take_all(self) -> None:
        # One by one, 4,000 took 1.3 ms of the loop's time, not 0.6.
        self._writing, self._reached = self._reached, {}
        self._since.clear()
        self._messages.clear()
        self._hastened.clear()

    def _take(self, listeners: Iterable[int]) -> None:
        """Write next what these have reached."""
        for listener in listeners:
            found = self._reached.pop(listener, None)
            if found is not None:
                self._since.pop(listener, None)
                self._messages.pop(listener, None)
                self._hastened.discard(listener)
                _keep_later(self._writing, found)

    def _keep(self, left: Sequence[Reached], histories: int) -> None:
        if histories == self._histories:
            now = time.monotonic()
            for each in left:
                _keep_later(self._reached, each)
                self._since.setdefault(each.listener, now)
                self._hastened.add(each.listener)


def _keep_later(kept: dict[int, Reached], new: Reached) -> None:
    """Keep the higher position, of those after the listener's last replay."""
    old = kept.get(new.listener)
    if old is None or (new.replays, new.position) >= (old.replays, old.position):
        kept[new.listener] = new


def _position(each: Reached) -> tuple[int, int]:
    return each.position, each.replays


def write(positions: Sequence[Reached], known: Known) -> list[Reached]:
    """
    Raise the cursors of listeners in one transaction, never lowering one.

    Returns those that others have locked: they are written next time. If the log is not the one
    that is known, or a listener was replayed meanwhile, nothing is written.
    """
    using = database()
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        if known.position and not is_as_known(known):
            return []
        locked = lock_free([each.listener for each in positions])
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        for (position, replays), group in groupby(sorted(positions, key=_position), key=_position):
            keys = [str(each.listener) for each in group if each.listener not in locked]
            if keys:
                cursor.execute(_raise(using).format(",".join(keys)), [position, now, replays])
    return [each for each in positions if each.listener in locked]


@lru_cache
def _raise(using: str) -> str:
    """Return the UPDATE of listeners whose keys go to `{}`: of 500, Django's takes 5 ms."""
    dialect = dialect_of(connections[using])
    column = dialect.connection.ops.quote_name("cursor")
    return (
        f"UPDATE {dialect.listeners} "
        f"SET {column} = {dialect.greatest}({column}, %s), last_seen = %s "
        "WHERE id IN ({}) AND replays = %s"
    )


class Records:
    """
    Collects what streams do; what is due is written in one round, once a second or less often.

    `run` calls a function on the thread that writes; `known` returns what the hub knows of the
    log; `announce` sends signals.
    """

    def __init__(
        self,
        run: Run,
        counters: Counters,
        known: Callable[[], Known],
        announce: Callable[[Iterable[Change]], None],
    ) -> None:
        self.cursors = Cursors(known)
        self._run = run
        self._counters = counters
        self._announce = announce
        self._presence = Presence()
        self._keys: dict[Any, list[int]] = {}
        self._opened_at: dict[Any, datetime] = {}  # only where signals have receivers
        self._streams = 0
        self._delivered = 0
        self._rest_until = 0.0
        self._outage = Outage(logger, "writing cursors and presence")

    def opened(self, stream: Any) -> None:
        """Note that a stream is open. A watcher has no row."""
        self._streams += 1
        self._counters.opened += 1
        if stream_opened.has_listeners() or stream_closed.has_listeners():
            at = self._opened_at[stream] = timezone.now()
            self._announce([stream_change(stream_opened, stream, opened_at=at)])
        for each in stream.subscriptions:
            if each.listener is None:
                self._presence.watched(each.channel, 1)
            else:
                self._keys.setdefault(stream, []).append(self._presence.opened(each.listener))

    def ended(self, stream: Any) -> None:
        """Note that a stream has ended."""
        self._streams -= 1
        self._counters.ended[stream.reason] += 1
        at = self._opened_at.pop(stream, None)
        if at is not None:
            facts = {"opened_at": at, "reason": str(stream.reason or ""), "sent": stream.sent}
            self._announce([stream_change(stream_closed, stream, **facts)])
        for key in self._keys.pop(stream, ()):
            self._presence.ended(key)
        for each in stream.subscriptions:
            if each.listener is None:
                self._presence.watched(each.channel, -1)
            else:
                self.cursors.hasten(each.listener)

    @property
    def waits(self) -> bool:
        """Whether there is something to write soon, even if no stream is open."""
        return self.cursors.dirty or self._presence.waits

    def forget(self) -> None:
        """Drop the cursors, and write the lease again: the log has another history."""
        self.cursors.forget()
        self._presence.forget()

    def due(self, now: float) -> bool:
        """Return whether something must be written at time.monotonic() `now`."""
        if now < self._rest_until:
            return False
        has_delivered = self._counters.delivered != self._delivered
        return self.cursors.is_due(now) or has_delivered or self._presence.due(now)

    async def write(self) -> None:
        """Write what is due; on an error it waits for the next round."""
        due = self.cursors.due(time.monotonic())
        count = self.cursors.waiting if due is None else len(due)
        rest_s = min(count / CURSORS_PER_S, MAX_WRITE_REST_S)
        p50, p99 = self._counters.delay_ms(0.5, 0.99)
        self._delivered = self._counters.delivered
        fields = {
            "streams": self._streams,
            "delivered": self._delivered,
            "delay_p50_ms": p50,
            "delay_p99_ms": p99,
        }
        try:
            await self.cursors.flush(self._run, due)
            await self._presence.flush(self._run, time.monotonic(), fields)
        except Exception:  # noqa: BLE001 - it waits for the next round, and is logged once
            rest_s = max(rest_s, self._outage.failed())
        else:
            self._outage.over()
        self._rest_until = time.monotonic() + rest_s
        changes, self._presence.changes = self._presence.changes, []
        self._announce(changes)

    async def close(self) -> None:
        """Write the cursors for the last time, and end the lease."""
        try:
            await self.cursors.flush(self._run)
            await self._presence.close(self._run)
        except Exception:
            logger.debug("cursors or presence could not be written", exc_info=True)

    def final_calls(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that do the same without a loop."""
        return [*self.cursors.final_calls(), *self._presence.final_calls()]
