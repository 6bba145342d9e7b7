"""
Code of others around publishing, and after delivery: for traces and debugging. Free while unused.

`around_publishing(make)` calls make(publication) before the INSERT of messages; what it returns is
entered as a context manager around the INSERT, also if that fails. `on_delivered(call)` calls
call(delivery) after messages were written to a stream. Both return a function that ends it.

What these raise is logged, and changes nothing else. `call` runs on the event loop of the
streams, for each write to each of them: it must not wait. Streams that are open do not notice a
change: connect in AppConfig.ready().
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from eric_sse_django.entry import RESERVED_PREFIX, Entry

logger = logging.getLogger(__name__)


class Draft(Protocol):
    """
    A message that is published: `channel` is a key, and `payload` JSON text.

    `listener` or `owner` is a key if it is not to all. `uid` is its id: what wraps its INSERT may
    set it, if it has none.
    """

    channel: int
    type: str
    payload: str
    listener: int | None
    owner: Any
    uid: str | None


class Publication(NamedTuple):
    """
    Messages that are published together.

    Where they are published by the ids of a channel and a listener, `channel_id` and `listener_id`
    are these, and the keys may be out of date.
    """

    messages: Sequence[Draft]
    channel_id: str | None = None
    listener_id: str | None = None


class Delivery(NamedTuple):
    """
    Messages that were written to one stream.

    `entries` have the fields of a publication's messages, `position` and `created_at`.
    `listeners` are the keys of the stream's listeners, None for a channel that is watched.
    """

    entries: Sequence[Entry]
    listeners: Sequence[int | None]


Make = Callable[[Publication], AbstractContextManager[Any]]
Call = Callable[[Delivery], object]

# Tuples: they are replaced, so that they can be read from any thread. Empty ones are false.
makers: tuple[Make, ...] = ()
calls: tuple[Call, ...] = ()


def around_publishing(make: Make) -> Callable[[], None]:
    """Enter make(publication) around each INSERT of messages; return what ends that."""
    global makers
    makers = (*makers, make)

    def undo() -> None:
        global makers
        makers = tuple(each for each in makers if each is not make)

    return undo


def on_delivered(call: Call) -> Callable[[], None]:
    """Call call(delivery) after each write of messages to a stream; return what ends that."""
    global calls
    calls = (*calls, call)

    def undo() -> None:
        global calls
        calls = tuple(each for each in calls if each is not call)

    return undo


@contextmanager
def publishing(
    drafts: Sequence[Draft], channel_id: str | None = None, listener_id: str | None = None
) -> Iterator[None]:
    """Enter what the makers return for messages: not for control messages and notices."""
    messages = [draft for draft in drafts if not draft.type.startswith(RESERVED_PREFIX)]
    with ExitStack() as stack:
        for make in makers if messages else ():
            stack.enter_context(_Guarded(make, Publication(messages, channel_id, listener_id)))
        yield


def delivered(delivery: Delivery) -> None:
    """Make the calls."""
    for call in calls:
        try:
            call(delivery)
        except Exception:  # a project's own function: it affects nothing else
            logger.exception("what is called after a delivery failed: %r", call)


class _Guarded:
    """A context manager of a project's own, whose failures are logged only."""

    def __init__(self, make: Make, publication: Publication) -> None:
        self._make, self._publication = make, publication
        self._entered: AbstractContextManager[Any] | None = None

    def __enter__(self) -> None:
        try:
            made = self._make(self._publication)
            made.__enter__()
            self._entered = made
        except Exception:
            logger.exception("what wraps publishing failed: %r", self._make)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered is None:
            return
        try:
            self._entered.__exit__(kind, error, traceback)
        except Exception as failed:
            if failed is not error:
                logger.exception("what wraps publishing failed: %r", self._make)
