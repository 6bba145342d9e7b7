"""Which listeners and users have come and gone, over all processes, and the signals of that."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.models import Exists, OuterRef
from django.dispatch import Signal
from django.utils import timezone

from eric_sse_django import conf, signals
from eric_sse_django.log import database
from eric_sse_django.models import (
    Channel,
    Listener,
    OpenStream,
    PresentListener,
    PresentUser,
    with_user,
)
from eric_sse_django.signals import (
    GRACE_S,
    listener_joined,
    listener_left,
    user_offline,
    user_online,
)
from eric_sse_django.workers import IDLE_S, Hung, Workers

logger = logging.getLogger(__name__)

# Rows in one statement: within every database's limit of parameters.
MAX_ROWS = 200
# Listeners that leave in one round; the others leave in the next.
MAX_LEAVING = 1_000
# Signals that wait at most: when exceeded, the oldest are not sent.
MAX_UNSENT = 10_000


class Change(NamedTuple):
    """A signal with its sender and arguments; `load` returns them, by queries, when it is sent."""

    signal: Signal
    subject: Any
    load: Callable[[Any], tuple[Any, dict[str, Any]]]


def batches(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield keys in parts of MAX_ROWS."""
    return (keys[first : first + MAX_ROWS] for first in range(0, len(keys), MAX_ROWS))


def joined(process: int, listeners: Collection[int]) -> Iterator[Change]:
    """
    Note that streams of these are open; yield those that no other process has noted before.

    If two processes do this at the same time, one inserts the row, and that one yields it.
    """
    keys = sorted(set(listeners))
    for some in batches(keys):
        rows, now = _rows(), timezone.now()
        known = dict(rows.filter(pk__in=some).values_list("pk", "missing_since"))
        again = [key for key, missing_since in known.items() if missing_since is not None]
        if again:
            # Waits for a process that removes them just now, in left(): then they are new.
            rows.filter(pk__in=again).update(missing_since=None)
            there = set(rows.filter(pk__in=again).values_list("pk", flat=True))
            known = {key: since for key, since in known.items() if since is None or key in there}
        new = [key for key in some if key not in known]
        if new:
            made = [PresentListener(pk=key, process=process, since=now) for key in new]
            with transaction.atomic(using=database()):  # noted and found, or neither
                rows.bulk_create(made, ignore_conflicts=True)
                own = rows.filter(pk__in=new, process=process, since=now)
                found = list(_changes(listener_joined, own.values_list("pk", flat=True)))
            yield from found


def unnoticed(process: int) -> list[int]:
    """
    Return the listeners that have a stream of this process and count as offline, some of them.

    The process was stopped for longer than its lease, or a listener came at the moment when
    another process found that it had left.
    """
    noted = PresentListener.objects.filter(pk=OuterRef("listener"))
    exists = Listener.objects.filter(pk=OuterRef("listener"))
    rows = OpenStream.objects.filter(process=process).filter(~Exists(noted), Exists(exists))
    return list(rows.values_list("listener", flat=True)[:MAX_LEAVING])


def note_missing(listeners: Collection[int] | None = None) -> None:
    """Note which of these (None: of all) no longer have a stream, and for None, which have one."""
    rows = _rows()
    if listeners is None:
        now = timezone.now()
        rows.filter(missing_since__isnull=False).with_stream().update(missing_since=None)
        rows.filter(missing_since=None).without_stream().update(missing_since=now)
        # By a clock that was set back they would be missing only in the future.
        late = now + timedelta(seconds=GRACE_S)
        rows.filter(missing_since__gt=late).update(missing_since=now)
        return
    keys = sorted(set(listeners))
    for some in batches(keys):
        missing = rows.filter(pk__in=some, missing_since=None).without_stream()
        missing.update(missing_since=timezone.now())


def note_leaving(ended: Mapping[int, int]) -> None:
    """
    Note which listeners lose their last stream with these, as {key: listener}.

    It is called before the streams are removed: at no moment is a listener without a stream and
    without this note, so users_online() has the listener until it has left.
    """
    for keys in batches(sorted(ended)):
        rows = _rows().filter(pk__in={ended[key] for key in keys}, missing_since=None)
        rows.without_stream(keys).update(missing_since=timezone.now())


def left() -> Iterator[Change]:
    """Yield those that have been missing for GRACE_S, MAX_LEAVING at most, and forget them."""
    using = database()
    before = timezone.now() - timedelta(seconds=GRACE_S)
    with transaction.atomic(using=using):
        due = _rows().filter(missing_since__lte=before).without_stream()
        due = due.select_for_update(skip_locked=_skips_locked(using))
        keys = list(due.values_list("pk", flat=True)[:MAX_LEAVING])
        for some in batches(keys):
            _rows().filter(pk__in=some).delete()
        found = list(_changes(listener_left, keys))
    yield from found


def _rows() -> Any:
    return PresentListener.objects


def _skips_locked(using: str) -> bool:
    return connections[using].features.has_select_for_update_skip_locked


def _changes(signal: Signal, keys: Iterable[int]) -> Iterator[Change]:
    found = Listener.objects.filter(pk__in=list(keys))
    for listener in with_user(found.select_related("channel"), "owner"):
        yield Change(signal, listener, _of_listener)


def _of_listener(listener: Listener) -> tuple[Any, dict[str, Any]]:
    return Listener, {"listener": listener}


# Users ------------------------------------------------------------------------------


def users_came(process: int, users: Iterable[Any]) -> Iterator[Change]:
    """Note that users are online; yield those that no other process has noted before."""
    keys, rows, using = sorted(set(users)), PresentUser.objects, database()
    for some in batches(keys):
        with transaction.atomic(using=using):
            # The lock waits for a process that removes them just now, in users_went().
            noted = rows.filter(user__in=some).order_by("pk").select_for_update()
            known = set(noted.values_list("user_id", flat=True))
        new, now = [key for key in some if key not in known], timezone.now()
        if new:
            made = [PresentUser(user_id=key, process=process, since=now) for key in new]
            with transaction.atomic(using=using):
                rows.bulk_create(made, ignore_conflicts=True)
                own = rows.filter(user__in=new, process=process, since=now)
                found = list(_user_changes(user_online, own.values_list("user_id", flat=True)))
            yield from found


def users_missed() -> list[Any]:
    """Return the owners of present listeners that are not noted as online."""
    theirs = PresentUser.objects.filter(user=OuterRef("listener__owner"))
    owned = _rows().filter(listener__owner__isnull=False).exclude(Exists(theirs))
    return list(owned.values_list("listener__owner", flat=True)[:MAX_LEAVING])


def users_went() -> Iterator[Change]:
    """Yield the users none of whose listeners is present, MAX_LEAVING at most; forget them."""
    using = database()
    with transaction.atomic(using=using):
        due = PresentUser.objects.without_listener()
        due = due.select_for_update(skip_locked=_skips_locked(using))
        keys = list(due.values_list("pk", flat=True)[:MAX_LEAVING])
        # Again, with the lock: a listener may have joined meanwhile.
        rows = PresentUser.objects.filter(pk__in=keys).without_listener() if keys else None
        gone = [] if rows is None else list(rows.values_list("pk", "user_id"))
        for some in batches([pk for pk, _ in gone]):
            PresentUser.objects.filter(pk__in=some).delete()
        found = list(_user_changes(user_offline, [user for _, user in gone]))
    yield from found


def _user_changes(signal: Signal, keys: Iterable[Any]) -> Iterator[Change]:
    users = get_user_model()
    found = users._default_manager.in_bulk(list(keys))
    for user in found.values():
        yield Change(signal, user, _of_user)


def _of_user(user: Any) -> tuple[Any, dict[str, Any]]:
    return get_user_model(), {"user": user}


# Streams ----------------------------------------------------------------------------


class StreamFacts(NamedTuple):
    """What a signal of a stream is about: the keys of its channels and listeners, and more."""

    channels: Sequence[int]
    listeners: Sequence[int]
    more: dict[str, Any]


def stream_change(signal: Signal, stream: Any, **more: Any) -> Change:
    """Return the signal of a stream that has opened or ended."""
    channels = [each.channel for each in stream.subscriptions]
    listeners = [each.listener for each in stream.subscriptions if each.listener is not None]
    return Change(signal, StreamFacts(channels, listeners, more), _of_stream)


def _of_stream(facts: StreamFacts) -> tuple[Any, dict[str, Any]]:
    channels = list(Channel.objects.filter(pk__in=facts.channels))
    listeners: list[Listener] = []
    if facts.listeners:
        rows = Listener.objects.filter(pk__in=facts.listeners).select_related("channel")
        listeners = list(with_user(rows, "owner"))
    return OpenStream, {"channels": channels, "listeners": listeners, **facts.more}


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
                await self.run(send, change)
            except Hung as hung:
                logger.error("a receiver hangs signal=%s: %s", _name(change), hung)
            except DatabaseError:
                logger.debug("a signal was not sent signal=%s", _name(change), exc_info=True)


def _name(change: Change) -> str:
    """Return the name of the signal, and of the listener that it is about."""
    names = [name for name in signals.__all__ if getattr(signals, name) is change.signal]
    of = getattr(change.subject, "name", "")
    return f"{''.join(names)} listener={of!r}" if of else "".join(names)


def send(change: Change) -> None:
    """Call the receivers; what they raise is logged."""
    sender, arguments = change.load(change.subject)
    for receiver, answer in change.signal.send_robust(sender, **arguments):
        if isinstance(answer, Exception):
            logger.error(
                "a receiver failed receiver=%r signal=%s",
                receiver,
                _name(change),
                exc_info=answer,
            )
