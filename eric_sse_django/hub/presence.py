"""A hub's lease in the database, and its streams': which process serves which listeners."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import Any

from django.conf import settings
from django.utils import timezone

from eric_sse_django.hub import arrivals
from eric_sse_django.hub.arrivals import MAX_ROWS, batches
from eric_sse_django.models import OpenStream, ServerProcess, Watchers
from eric_sse_django.models.presence import LEASE_S
from eric_sse_django.signals import (
    GRACE_S,
    listener_joined,
    listener_left,
    user_offline,
    user_online,
)
from eric_sse_django.workers import Hung, is_given_up

# Seconds between two renewals: two may fail before the lease is over.
RENEW_S = LEASE_S / 3
# Listeners that join in one round, 0.4 ms each: the others wait for the next.
MAX_ARRIVING = 1_000
# Seconds after GRACE_S when the listeners that have left are looked up.
LATE_S = 0.5


class _Born:
    """When this process began, to a second; a fork has its own."""

    at = time.time()

    @classmethod
    def again(cls) -> None:
        cls.at = time.time()


os.register_at_fork(after_in_child=_Born.again)


@dataclass
class _Round:
    """What one write writes."""

    streams: dict[int, tuple[int, datetime]]
    watched: dict[int, int]
    new: set[int]
    ended: dict[int, int]
    changed: set[int]
    sweeps: bool  # looks for listeners of dead processes
    leaves: bool  # looks for listeners that have left
    arriving: list[int]
    renews_at: float | None  # a time.monotonic(), None between two renewals


@dataclass(eq=False)
class Presence:
    """
    Collects the streams that open and end, and writes them in batches with the renewal.

    A stream that opens and ends between two writes is never written. Of watchers only their
    number is written. `changes` are the signals of listeners that joined or left, to be sent.
    """

    changes: list[arrivals.Change] = field(default_factory=list)
    _process: int | None = None
    _open: dict[int, tuple[int, datetime]] = field(default_factory=dict)
    _watched: Counter[int] = field(default_factory=Counter)  # streams, by channel
    _unwritten: set[int] = field(default_factory=set)
    # Of those, what a write that failed may have written.
    _doubtful: set[int] = field(default_factory=set)
    _ended: dict[int, int] = field(default_factory=dict)
    _changed: set[int] = field(default_factory=set)
    _arriving: deque[int] = field(default_factory=deque)
    _renew_at: float = 0.0
    _sweep_at: float = 0.0
    _leave_at: float | None = None
    _last_leave_at: float = 0.0
    # Leases that end in the future: how they are, and since when by time.monotonic().
    _ahead: dict[int, tuple[datetime, float]] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """How many listeners and channels its streams have."""
        return len(self._open) + self._watched.total()

    @property
    def waits(self) -> bool:
        """Whether a listener may have left, which is known after GRACE_S."""
        return self._leave_at is not None

    def opened(self, listener: int) -> int:
        """Note that a stream of a listener is open; return the key to end it with."""
        key = secrets.randbits(62)
        self._open[key] = listener, timezone.now()
        self._unwritten.add(key)
        if _are_wanted():
            self._arriving.append(listener)
        return key

    def ended(self, key: int) -> None:
        """Note that a stream has ended; calling it twice changes nothing."""
        listener, _ = self._open.pop(key, (None, None))
        if listener is None:
            return
        if key not in self._unwritten or key in self._doubtful:
            self._ended[key] = listener
        self._unwritten.discard(key)

    def watched(self, channel: int, more: int) -> None:
        """Note that `more` more streams watch a channel; fewer, if it is negative."""
        self._watched[channel] += more
        if not self._watched[channel]:
            del self._watched[channel]
        self._changed.add(channel)

    def forget(self) -> None:
        """Write the lease and the open streams again: the database may not have them."""
        self._process, self._renew_at = None, 0.0
        self._unwritten, self._ended = set(self._open), {}
        self._changed = set(self._watched)

    def due(self, now: float) -> bool:
        """Return whether anything waits to be written at time.monotonic() `now`."""
        waits = self._unwritten or self._ended or self._changed or self._arriving
        leaving = self._leave_at is not None and now >= self._leave_at
        return bool(waits) or leaving or now >= self._renew_at

    async def flush(
        self, run: Callable[..., Awaitable[Any]], now: float, fields: dict[str, Any]
    ) -> None:
        """Renew the lease with `fields` of ServerProcess, and write what waits."""
        streams, watched = dict(self._open), dict(self._watched)
        due = self._unwritten, self._ended, self._changed, *self._lookups(now)
        renews_at = now if now >= self._renew_at else None
        todo = _Round(streams, watched, *due, self._arrivals(), renews_at)
        self._unwritten, self._ended, self._changed = set(), {}, set()
        self._renew_at = now + RENEW_S
        try:
            self._process = await run(self._write, todo, {**fields, "parts": self.parts})
        except BaseException:
            self._unwritten |= todo.new & self._open.keys()
            self._doubtful = set(self._unwritten)
            self._ended |= todo.ended
            self._ended |= {key: streams[key][0] for key in todo.new - self._open.keys()}
            self._changed |= todo.changed
            self._arriving.extendleft(reversed(todo.arriving))
            self._renew_at = now
            raise
        self._doubtful = set()

    def _arrivals(self) -> list[int]:
        """Take the next listeners that came, without those whose stream has ended already."""
        some = [self._arriving.popleft() for _ in range(min(MAX_ARRIVING, len(self._arriving)))]
        still = {listener for listener, _ in self._open.values()} if some else set()
        return [listener for listener in some if listener in still]

    def _lookups(self, now: float) -> tuple[bool, bool]:
        """Return whether to look up listeners of dead processes, and those that have left."""
        if not _are_wanted():
            return False, False
        sweeps = now >= self._sweep_at
        if sweeps:
            self._sweep_at = now + RENEW_S
        if self._ended:
            self._last_leave_at = now + GRACE_S + LATE_S
            if self._leave_at is None:
                self._leave_at = self._last_leave_at
        leaves = self._leave_at is not None and now >= self._leave_at
        if leaves:
            self._leave_at = None if now >= self._last_leave_at else now + 1.0
        return sweeps, leaves or sweeps

    def final_calls(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that end the lease without a loop."""
        return [] if self._process is None else [(_forget, self._process)]

    async def close(self, run: Callable[..., Awaitable[Any]]) -> None:
        """End the lease."""
        process, self._process = self._process, None
        if process is not None:
            await run(_forget, process)

    def _write(self, todo: _Round, fields: dict[str, Any]) -> int:
        """Write on the hub's thread; return the key of the hub's row."""
        at, processes = timezone.now(), ServerProcess.objects
        process = self._process
        if not (process and processes.filter(pk=process).update(renewed_at=at, **fields)):
            # The first time, or the lease had expired: this process did not run for long.
            name = f"{socket.gethostname()}:{os.getpid()}"
            Watchers.objects.exclude(process__in=processes.values("pk")).delete()
            row = processes.create(name=name, started_at=_born(), renewed_at=at, **fields)
            process, todo.new, todo.changed = row.pk, set(todo.streams), set(todo.watched)
            _check_thread()
            self._process = process  # now: also if the rest fails
            # What a write that hung has left of another row, whose lease is not renewed.
            for keys in batches(sorted(todo.streams)):
                OpenStream.objects.filter(pk__in=keys).delete()
        _check_thread()
        new = [key for key in todo.new if key in todo.streams]
        _insert(process, [(key, *todo.streams[key]) for key in new])
        if _are_wanted():
            arrivals.note_leaving(todo.ended)
        for keys in batches(sorted(todo.ended)):
            OpenStream.objects.filter(pk__in=keys).delete()
        _check_thread()
        _count(process, {channel: todo.watched.get(channel, 0) for channel in todo.changed})
        dead = at - timedelta(seconds=2 * LEASE_S)
        processes.filter(renewed_at__lt=dead).delete()
        if todo.renews_at is not None:
            self._end_future_leases(at, todo.renews_at)
        if _are_wanted():
            _check_thread()
            self._note(process, todo)
        return process

    def _end_future_leases(self, at: datetime, now: float) -> None:
        """
        Remove processes that are dead, and whose lease would end only in the future.

        Their clock, or this one, was set back. One that lives renews its lease, to whatever time.
        """
        rows, before = ServerProcess.objects, self._ahead
        future = rows.filter(renewed_at__gt=at + timedelta(seconds=LEASE_S))
        self._ahead = {}
        for key, renewed_at in future.values_list("pk", "renewed_at"):
            known = before.get(key)
            since = known[1] if known is not None and known[0] == renewed_at else now
            self._ahead[key] = renewed_at, since
            if now - since > LEASE_S:
                rows.filter(pk=key, renewed_at=renewed_at).delete()

    def _note(self, process: int, todo: _Round) -> None:
        """Note which listeners and users come and go; signals are kept if it fails halfway."""
        if todo.sweeps:
            todo.arriving.extend(arrivals.unnoticed(process))
        known = len(self.changes)
        self.changes.extend(arrivals.joined(process, todo.arriving))
        if users := _users_are_wanted():
            owners = [each.subject.owner_id for each in self.changes[known:]]
            came = [owner for owner in owners if owner is not None]
            self.changes.extend(arrivals.users_came(process, came))
        arrivals.note_missing(todo.ended.values())
        if todo.sweeps:
            arrivals.note_missing()  # of processes that died
        if todo.leaves:
            self.changes.extend(arrivals.left())
        if users and todo.leaves:
            self.changes.extend(arrivals.users_went())
        if users and todo.sweeps:
            # One whose listener joined while another process found that the user had left.
            self.changes.extend(arrivals.users_came(process, arrivals.users_missed()))


def _check_thread() -> None:
    """Raise Hung if the thread is given up: another writes what is open now."""
    if is_given_up():
        raise Hung("another thread writes the presence now")


def _born() -> datetime:
    at = datetime.fromtimestamp(_Born.at, zones.utc)
    return at if settings.USE_TZ else timezone.make_naive(at)


def _insert(process: int, streams: list[tuple[int, int, datetime]]) -> None:
    rows = [
        OpenStream(pk=key, process_id=process, listener_id=listener, opened_at=opened_at)
        for key, listener, opened_at in streams
    ]
    OpenStream.objects.bulk_create(rows, MAX_ROWS, ignore_conflicts=True)


def _count(process: int, watched: dict[int, int]) -> None:
    """Write how many streams of the process watch each of these channels."""
    rows = Watchers.objects
    for channels in batches(sorted(watched)):
        rows.filter(process=process, channel__in=channels).delete()
        rows.bulk_create(
            Watchers(process_id=process, channel_id=channel, streams=watched[channel])
            for channel in channels
            if watched[channel]
        )


def _forget(process: int) -> None:
    ServerProcess.objects.filter(pk=process).delete()


def _are_wanted() -> bool:
    """Return whether this process has receivers of the signals of listeners, or of users."""
    of_listeners = listener_joined.has_listeners() or listener_left.has_listeners()
    return of_listeners or _users_are_wanted()


def _users_are_wanted() -> bool:
    return user_online.has_listeners() or user_offline.has_listeners()
