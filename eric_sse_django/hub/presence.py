"""A hub's lease in the database, and its streams': who serves which listeners now."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from eric_sse_django.log import database
from eric_sse_django.models import OpenStream, ServerProcess
from eric_sse_django.models.presence import LEASE_S

# Seconds between two renewals: two may fail before the lease is over.
RENEW_S = LEASE_S / 3
# Rows in one statement: within every database's limit of parameters.
BATCH = 200


class Presence:
    """
    Collects the streams that open and end, and writes them in batches with the renewal.

    A stream that opens and ends between two writes is never written.
    """

    def __init__(self) -> None:
        self._process: int | None = None
        self._started_at = timezone.now()
        self._open: dict[int, tuple[int, datetime]] = {}
        self._unwritten: set[int] = set()
        self._ended: set[int] = set()
        self._renew_at = 0.0

    def opened(self, listener: int) -> int:
        """Note that a stream of a listener is open; return the key to end it with."""
        key = secrets.randbits(62)
        self._open[key] = listener, timezone.now()
        self._unwritten.add(key)
        return key

    def ended(self, key: int) -> None:
        """Note that a stream has ended; calling it twice changes nothing."""
        if self._open.pop(key, None) is None:
            return
        if key in self._unwritten:
            self._unwritten.discard(key)
        else:
            self._ended.add(key)

    def forget(self) -> None:
        """Have the lease and what is open written anew: the database may not know of them."""
        self._process, self._renew_at = None, 0.0
        self._unwritten, self._ended = set(self._open), set()

    def due(self, now: float) -> bool:
        """Whether something waits to be written at time.monotonic() `now`."""
        return bool(self._unwritten or self._ended) or now >= self._renew_at

    async def flush(
        self, run: Callable[..., Awaitable[Any]], now: float, facts: dict[str, Any]
    ) -> None:
        """Renew the lease with `facts` (fields of ServerProcess), and write what waits."""
        new, ended = self._unwritten, self._ended
        self._unwritten, self._ended = set(), set()
        self._renew_at = now + RENEW_S
        try:
            self._process = await run(self._write, dict(self._open), new, ended, facts)
        except BaseException:
            self._unwritten |= new & self._open.keys()
            self._ended |= ended | (new - self._open.keys())
            self._renew_at = now
            raise

    def last_words(self) -> list[tuple[Any, ...]]:
        """Return the calls, as (function, *args), that give the lease back without a loop."""
        return [] if self._process is None else [(_forget, self._process)]

    async def leave(self, run: Callable[..., Awaitable[Any]]) -> None:
        """Give the lease back."""
        process, self._process = self._process, None
        if process is not None:
            await run(_forget, process)

    def _write(
        self,
        streams: dict[int, tuple[int, datetime]],
        new: set[int],
        ended: set[int],
        facts: dict[str, Any],
    ) -> int:
        """Write on the hub's thread; return the key of the hub's row."""
        using, now = database(), timezone.now()
        processes = ServerProcess.objects.using(using)
        process = self._process
        if not (process and processes.filter(pk=process).update(renewed_at=now, **facts)):
            # The first time, or others took us for dead: we stood still for long.
            name = f"{socket.gethostname()}:{os.getpid()}"
            row = processes.create(name=name, started_at=self._started_at, renewed_at=now, **facts)
            process, new = row.pk, set(streams)
        _insert(process, [(key, *streams[key]) for key in new if key in streams])
        for keys in _batches(sorted(ended)):
            OpenStream.objects.using(using).filter(pk__in=keys).delete()
        dead = now - timedelta(seconds=2 * LEASE_S)
        processes.filter(renewed_at__lt=dead).delete()
        return process


def _insert(process: int, streams: list[tuple[int, int, datetime]]) -> None:
    rows = [
        OpenStream(pk=key, process_id=process, listener_id=listener, opened_at=opened_at)
        for key, listener, opened_at in streams
    ]
    OpenStream.objects.using(database()).bulk_create(rows, BATCH, ignore_conflicts=True)


def _forget(process: int) -> None:
    ServerProcess.objects.using(database()).filter(pk=process).delete()


def _batches(keys: list[int]) -> Iterable[list[int]]:
    return (keys[first : first + BATCH] for first in range(0, len(keys), BATCH))
