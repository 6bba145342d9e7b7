"""Which listeners have joined and left, over all processes, and the signals of that."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.dispatch import Signal
from django.utils import timezone

from eric_sse_django import conf
from eric_sse_django.log import database
from eric_sse_django.models import Listener, PresentListener, with_user
from eric_sse_django.signals import GRACE_S, listener_joined, listener_left
from eric_sse_django.workers import IDLE_S, Hung, Workers

logger = logging.getLogger(__name__)

# Rows in one statement: within every database's limit of parameters.
MAX_ROWS = 200
# Listeners that leave in one round; the others leave in the next.
MAX_LEAVING = 1_000
# Signals that wait at most: when exceeded, the oldest are not sent.
MAX_UNSENT = 10_000

# A signal, and the listener that it is about.
Change = tuple[Signal, Listener]


def joined(process: int, listeners: Collection[int]) -> Iterator[Change]:
    """
    Note that streams of these are open; yield those that no other process has noted before.

    If two processes do this at the same time, one inserts the row, and that one yields it.
    """
    keys = sorted(set(listeners))
    for some in (keys[first : first + MAX_ROWS] for first in range(0, len(keys), MAX_ROWS)):
        rows, now = _rows(), timezone.now()
        known = dict(rows.filter(pk__in=some).values_list("pk", "missing_since"))
        again = [key for key, missing_since in known.items() if missing_since is not None]
        if again:
            rows.filter(pk__in=again).update(missing_since=None)
        new = [key for key in some if key not in known]
        if new:
            made = [PresentListener(pk=key, process=process, since=now) for key in new]
            rows.bulk_create(made, ignore_conflicts=True)
            own = rows.filter(pk__in=new, process=process, since=now)
            yield from _changes(listener_joined, own.values_list("pk", flat=True))


def note_missing(listeners: Collection[int] | None = None) -> None:
    """Note which of these (None: of all) no longer have a stream, and for None, which have one."""
    rows = _rows()
    if listeners is None:
        rows.filter(missing_since__isnull=False).with_stream().update(missing_since=None)
        rows = rows.filter(missing_since=None).without_stream()
        rows.update(missing_since=timezone.now())
        return
    keys = sorted(set(listeners))
    for some in (keys[first : first + MAX_ROWS] for first in range(0, len(keys), MAX_ROWS)):
        missing = rows.filter(pk__in=some, missing_since=None).without_stream()
        missing.update(missing_since=timezone.now())


def left() -> Iterator[Change]:
    """Yield those that have been missing for GRACE_S, MAX_LEAVING at most, and forget them."""
    using = database()
    before = timezone.now() - timedelta(seconds=GRACE_S)
    with transaction.atomic(using=using):
        due = _rows().filter(missing_since__lte=before).without_stream()
        if connections[using].features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        keys = list(due.values_list("pk", flat=True)[:MAX_LEAVING])
        for first in range(0, len(keys), MAX_ROWS):
            _rows().filter(pk__in=keys[first : first + MAX_ROWS]).delete()
    yield from _changes(listener_left, keys)


def _rows() -> Any:
    return PresentListener.objects


def _changes(signal: Signal, keys: Iterable[int]) -> Iterator[Change]:
    found = Listener.objects.filter(pk__in=list(keys))
    for listener in with_user(found.select_related("channel"), "owner"):
        yield signal, listener


class Announcer(Workers):
    """
    A thread for receivers of signals, each signal within HOOK_TIMEOUT_S.

    A receiver that hangs delays the signals after it for that long, and nothing else. `spawn`
    starts a task of the hub.
    """

    def __init__(
        self,
        replaced: Counter[str],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        super().__init__(
            "eric-sse-signals", lambda: float(conf.get("HOOK_TIMEOUT_S")), replaced, idle_s=IDLE_S
        )
        self._spawn = spawn
        self._waiting: deque[Change] = deque()
        self._task: asyncio.Task[None] | None = None

    def announce(self, changes: Iterable[Change]) -> None:
        """Send these signals, after those that wait. Returns at once."""
        self._waiting.extend(changes)
        excess = len(self._waiting) - MAX_UNSENT
        if excess > 0:
            logger.error("receivers of signals are too slow: %d signals are not sent", excess)
            for _ in range(excess):
                self._waiting.popleft()
        if self._waiting and (self._task is None or self._task.done()):
            self._task = self._spawn(self._send_all())

    async def _send_all(self) -> None:
        while self._waiting:
            change = self._waiting.popleft()
            try:
                await self.run(send, *change)
            except Hung as hung:
                logger.error("a receiver hangs listener=%r: %s", change[1].name, hung)


def send(signal: Signal, listener: Listener) -> None:
    """Call the receivers; what they raise is logged."""
    for receiver, answer in signal.send_robust(Listener, listener=listener):
        if isinstance(answer, Exception):
            logger.error(
                "a receiver failed receiver=%r listener=%r",
                receiver,
                listener.name,
                exc_info=answer,
            )
