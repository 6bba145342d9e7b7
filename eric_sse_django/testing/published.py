"""
What a test has published, as the log has it.

Read from the log, in the transaction of the test: what was rolled back is not there, whoever
published it, and no commit, thread or position is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, overload

from asgiref.sync import sync_to_async

from eric_sse_django.database.arguments import channel_id_of, listener_id_of, owner_key
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.entry import RESERVED_PREFIX
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.log import payload_text
from eric_sse_django.models import Listener, QueuedMessage


@dataclass(frozen=True)
class Published:
    """
    A message that was published: to a listener (its id), to an owner (its key), or to all.

    `lifetime_s` is for how many seconds it is delivered, None if it only has a retention.
    """

    channel: str
    type: str
    payload: Any
    listener: str | None = None
    owner: Any = None
    sender: str | None = None
    id: str | None = None
    lifetime_s: float | None = None

    def __str__(self) -> str:
        to = f" to listener {self.listener!r}" if self.listener is not None else ""
        to = f" to owner {self.owner!r}" if self.owner is not None else to
        return f"{self.channel}: {self.type!r} {json.dumps(self.payload)}{to}"


def _messages(channel: Any, after: int = 0) -> list[Published]:
    """Return what is in the log of a channel (None: of all) after a key, in its order."""
    # Control messages and notices are the app's own.
    rows = QueuedMessage.objects.filter(pk__gt=after).exclude(type__startswith=RESERVED_PREFIX)
    if channel is not None:
        rows = rows.filter(channel__name=channel_id_of(channel))
    found = list(rows.select_related("channel").order_by("pk"))
    keys = {row.listener_id for row in found if row.listener_id is not None}
    names = dict(Listener.objects.filter(pk__in=keys).values_list("pk", "name"))
    return [_published(row, names) for row in found]


def _published(row: Any, names: dict[Any, str]) -> Published:
    lifetime = (row.expires_at - row.created_at).total_seconds() if row.perishable else None
    # A listener that was removed has no id any more.
    listener = None if row.listener_id is None else names.get(row.listener_id, "")
    return Published(
        *(row.channel.name, row.type, json.loads(row.payload), listener),
        *(row.owner_id, row.sender, row.uid, lifetime),
    )


class Captured(Sequence[Published]):
    """
    The messages that were published in its block, oldest first: to one channel, or to all.

    A context manager, also for `async with`. While the block runs, each use reads the log; in a
    coroutine use it after the block.
    """

    def __init__(self, channel: Any = None) -> None:
        self._channel = None if channel is None else channel_id_of(channel)
        self._after = 0
        self._found: list[Published] | None = None

    def __enter__(self) -> Captured:
        newest = QueuedMessage.objects.order_by("-pk").values_list("pk", flat=True).first()
        self._after, self._found = newest or 0, None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After a database error the test's transaction allows no query.
        self._found = [] if error is not None else self._read()

    async def __aenter__(self) -> Captured:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(self, *error: Any) -> None:
        await sync_to_async(self.__exit__)(*error)

    def _read(self) -> list[Published]:
        return _messages(self._channel, self._after)

    def _all(self) -> list[Published]:
        return self._read() if self._found is None else self._found

    @overload
    def __getitem__(self, index: int) -> Published: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Published]: ...

    def __getitem__(self, index: int | slice) -> Published | Sequence[Published]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Published]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())


def captured(channel: Any = None) -> Captured:
    """
    Return what collects the messages that its block publishes to a channel, or to any (None).

    `with captured("orders") as messages: …`, also `async with`.
    """
    return Captured(channel)


@has_twin
def published(channel: Any = None) -> list[Published]:
    """Return all messages of a channel that are in the log, or of all channels. Two queries."""
    return _messages(channel)


apublished = twin_of_function(published)


class _Any:
    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()


@has_twin
def assert_published(
    channel: Any = None,
    type: str | None = None,
    payload: Any = ANY,
    *,
    listener: Any = ANY,
    owner: Any = ANY,
    count: int | None = None,
) -> list[Published]:
    """
    Fail unless such a message was published (`count` of them, if given); return those.

    A `payload` is what was published, or a function that returns whether a payload is meant.
    `listener` and `owner` are the recipient; None means that it went to all. Without them any
    recipient counts.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    found = _matching(channel, type, payload, listener, owner)
    if len(found) == count or (count is None and found):
        return found
    wanted = "none" if count is None else f"{len(found)} of {count}"
    raise AssertionError(f"{wanted} published{_was(channel, type, payload)}")


@has_twin
def assert_not_published(
    channel: Any = None,
    type: str | None = None,
    payload: Any = ANY,
    *,
    listener: Any = ANY,
    owner: Any = ANY,
) -> None:
    """Fail if such a message was published; for the arguments see assert_published()."""
    __tracebackhide__ = True
    found = _matching(channel, type, payload, listener, owner)
    if found:
        raise AssertionError(f"{len(found)} published{_was(channel, type, payload)}")


aassert_published = twin_of_function(assert_published)
aassert_not_published = twin_of_function(assert_not_published)


def _matching(
    channel: Any, type: str | None, payload: Any, listener: Any, owner: Any
) -> list[Published]:
    return [
        each
        for each in _messages(channel)
        if type in (None, each.type)
        and _is_same(each.listener, listener, listener_id_of)
        and _is_same(each.owner, owner, owner_key)
        and _is_payload(each.payload, payload)
    ]


def _is_same(found: Any, wanted: Any, id_of: Callable[[Any], Any]) -> bool:
    return wanted is ANY or found == (None if wanted is None else id_of(wanted))


def _is_payload(found: Any, wanted: Any) -> bool:
    if wanted is ANY or found == wanted:
        return True
    if callable(wanted):
        return bool(wanted(found))
    try:
        return bool(found == json.loads(payload_text(wanted)))
    except InvalidMessageFormat:
        return False


def _was(channel: Any, type: str | None, payload: Any) -> str:
    where = "to any channel" if channel is None else f"to {channel_id_of(channel)!r}"
    lines = [f"  {each}" for each in _messages(channel)] or ["  nothing"]
    what = f" {where}: type {type or 'ANY'!r}, payload {payload!r}. The log has"
    return "\n".join([what, *lines])
