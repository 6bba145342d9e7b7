"""
A logging handler that publishes records to a channel, for a page that shows them live.

    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "live": {
                "class": "eric_sse_django.contrib.logging.ChannelHandler",
                "channel": "log",
                "level": "WARNING",
            },
        },
        "root": {"handlers": ["live"]},
    }

A message has the level as its type ("warning"), and this payload: `level`, `logger`, `message`,
`at`, `process`, `where` and, if there is one, `exception`.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from django.apps import apps

from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.outage import Outage
from eric_sse_django.workers import IDLE_S, LAST, NEXT, Hung, Workers, disconnect

logger = logging.getLogger(__name__)

# The package whose records are not published: publishing logs with these loggers.
PACKAGE = "eric_sse_django"
# All of the package's threads begin with it. Their records of other loggers, such as each query,
# are not published: each would cause the next one.
THREADS = "eric-sse-"
# Records of one transaction.
BATCH = 100
# Characters of a message, and of a traceback, of which the last lines matter.
MAX_MESSAGE_CHARACTERS = 8_192
MAX_EXCEPTION_CHARACTERS = 32_768
# Seconds that flush() and the end of the process wait for what is not published yet.
FLUSH_S = 2.0
# The type of the message that counts what was not published.
DROPPED = "dropped"


class _Waiting(NamedTuple):
    """A record as a message: built when it was logged, because its arguments may change."""

    type: str
    payload: dict[str, Any]


class TokenBucket:
    """Allows `per_s` calls a second on average, and `burst` at once."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = time.monotonic()

    def take(self) -> bool:
        """Return whether one more is allowed now, and count it."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ChannelHandler(logging.Handler):
    """
    Publishes records to a channel on its own thread, and so in its own transaction.

    Logging never waits for it, and it never raises: it has a queue of `capacity` records, and
    publishes `rate_per_s` at most, `burst` at once. What exceeds one of these is counted, and
    the next message is of type "dropped" with the number. While the database is unavailable,
    the queue is kept. Records that publishing causes are not published. `fields` are names of
    attributes of records (of `extra`) that become part of the payload. A formatter, if there is
    one, gives the `message`.

    The channel must exist: name it in ERIC_SSE["CHANNELS"]. Records contain what the code logs:
    limit the access to the channel accordingly.
    """

    def __init__(
        self,
        channel: str,
        level: int | str = logging.NOTSET,
        *,
        rate_per_s: float = 10.0,
        burst: int = 50,
        capacity: int = 1_000,
        fields: Sequence[str] = (),
    ) -> None:
        super().__init__(level)
        if rate_per_s <= 0 or burst < 1 or capacity < 1:
            raise ValueError(
                f"rate_per_s={rate_per_s!r}, burst={burst!r}, capacity={capacity!r}: "
                "each must be over 0."
            )
        self.channel = channel
        self.fields = tuple(fields)
        self._capacity = capacity
        self._bucket = TokenBucket(rate_per_s, burst)
        self._outage = Outage(logger, f"publishing records to the channel {channel!r}")
        self._begin()

    def _begin(self) -> None:
        """Begin with an empty queue and no thread: also in a fork, which has the parent's."""
        self._process = os.getpid()
        self._is_emitting = False  # a thread of the parent may have been, which is not here
        self._waiting: deque[_Waiting] = deque()
        # What only the logging threads write, with the handler's lock, and what only its own does.
        self._dropped = self._refused = self._reported = 0
        self._is_planned = False
        self._ends_at = float("inf")  # of the last flush, a time.monotonic()
        self._closing = threading.Event()
        self._workers = Workers(
            f"{THREADS}logging", lambda: float("inf"), Counter(), idle_s=IDLE_S
        )

    # On the thread that logs --------------------------------------------------------

    def filter(self, record: logging.LogRecord) -> Any:
        """As Filterer.filter(); refuse the records that publishing causes, without a lock."""
        if record.name == PACKAGE or record.name.startswith(f"{PACKAGE}."):
            return False
        if (record.threadName or "").startswith(THREADS):
            return False
        return super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Never waits, and never raises."""
        if self._process != os.getpid():
            self._begin()
        if self._is_emitting:
            return  # to format a record, or a signal meanwhile, has logged another one
        self._is_emitting = True
        try:
            self._emit(record)
        except Exception:  # noqa: BLE001 - logging must not break the code that logs
            self._dropped += 1
        finally:
            self._is_emitting = False

    def _emit(self, record: logging.LogRecord) -> None:
        if len(self._waiting) >= self._capacity or not self._bucket.take():
            self._dropped += 1
            return
        self._waiting.append(self._message(record))
        self._plan()

    def _message(self, record: logging.LogRecord) -> _Waiting:
        payload: dict[str, Any] = {
            "level": record.levelname,
            "logger": record.name,
            "message": self._text(record)[:MAX_MESSAGE_CHARACTERS],
            "at": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "process": record.process,
            "where": f"{record.filename}:{record.lineno}",
        }
        if record.exc_info and self.formatter is None:
            text = logging.Formatter().formatException(record.exc_info)
            payload["exception"] = text[-MAX_EXCEPTION_CHARACTERS:]
        for name in self.fields:
            if hasattr(record, name):
                payload[name] = _plain(getattr(record, name))
        return _Waiting(record.levelname.lower(), payload)

    def _text(self, record: logging.LogRecord) -> str:
        return record.getMessage() if self.formatter is None else self.formatter.format(record)

    def _plan(self) -> None:
        """Publish what waits, on the thread, unless that is planned."""
        if not self._is_planned and not self._closing.is_set():
            self._is_planned = True
            try:
                self._workers.submit(NEXT, self._publish_all)
            except (Hung, RuntimeError):  # no thread can be started: the next record tries again
                self._is_planned = False

    def flush(self) -> None:
        """
        Wait until what was logged is published, FLUSH_S at most. Never raises.

        When the process ends, logging calls it once more: both together take FLUSH_S at most.
        """
        if self._process != os.getpid() or not self._waiting:
            return
        with contextlib.suppress(Exception):
            self._plan()
            left_s = min(FLUSH_S, max(0.0, self._ends_at - time.monotonic()))
            self._workers.submit(LAST, lambda: None).result(left_s)

    def close(self) -> None:
        """Stop the thread; what is not published yet is dropped: call flush() before."""
        self._closing.set()
        self._workers.close()
        super().close()

    # On its own thread --------------------------------------------------------------

    def _publish_all(self) -> None:
        apps.ready_event.wait()  # records are logged before the models are loaded
        self._flush_at_exit()
        while not self._closing.is_set():
            # Before the queue is read: what is queued later plans another call.
            self._is_planned = False
            if not self._waiting:
                return
            self._is_planned = True
            try:
                self._publish(list(_first(self._waiting, BATCH)))
            except Exception:  # noqa: BLE001 - the loop that owns this thread
                disconnect()
                self._closing.wait(self._outage.failed())

    def _publish(self, batch: list[_Waiting]) -> None:
        """Publish the first that wait, all of them in one transaction, and remove them."""
        # Here: LOGGING is read before the models can be imported.
        from eric_sse_django.database import DatabaseChannel  # noqa: PLC0415
        from eric_sse_django.message import Message  # noqa: PLC0415

        channel, lost = DatabaseChannel.load(self.channel), self._dropped + self._refused
        messages = [Message(*each) for each in batch]
        if lost > self._reported:
            messages.append(Message(DROPPED, {"records": lost - self._reported}))
        try:
            channel.broadcast_many(messages)
        except InvalidMessageFormat:
            self._refused += self._publish_each(channel, messages)
        self._reported = lost
        for _ in batch:
            self._waiting.popleft()
        self._outage.over()

    def _publish_each(self, channel: Any, messages: Iterable[Any]) -> int:
        """Publish those that can be sent, one by one; return how many cannot be."""
        refused = 0
        for message in messages:
            try:
                channel.broadcast(message)
            except InvalidMessageFormat:
                refused += 1
        return refused

    def _flush_at_exit(self) -> None:
        """Flush when the process ends, before the notifier is closed: after it was imported."""
        if not getattr(self, "_is_registered", False):
            self._is_registered = True
            import eric_sse_django.notifier  # noqa: F401, PLC0415 - registers its own end first

            atexit.register(_flush, weakref.ref(self))


def _flush(handler: weakref.ref[ChannelHandler]) -> None:
    found = handler()
    if found is not None:
        found._ends_at = time.monotonic() + FLUSH_S
        found.flush()


def _first(waiting: deque[_Waiting], count: int) -> Iterable[_Waiting]:
    """Yield the first that wait: others may be added meanwhile, at the end."""
    return (waiting[number] for number in range(min(count, len(waiting))))


def _plain(value: Any) -> Any:
    """Return a value that JSON has: others as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value[:MAX_MESSAGE_CHARACTERS] if isinstance(value, str) else value
    return str(value)[:MAX_MESSAGE_CHARACTERS]
