"""The promises of docs/design.md as a model: a log, its listeners, and what clients see."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eric_sse_django.entry import RESET
from eric_sse_django.log import base_of
from tests.sse import Event


@dataclass(eq=False)
class Listening:
    """A listener, and what its clients have seen."""

    name: str
    channel: str
    owner: str | None
    by_client: bool
    start: int
    born: int
    running: bool = True
    # The highest position that a client of its has seen, or acknowledged where that counts.
    served: int = 0
    popped: int = 0


@dataclass(eq=False)
class Published:
    """A message. Its times are those of the model's clock."""

    number: int
    channel: str
    listener: Listening | None
    owner: str | None
    has_lifetime: bool
    born: int
    committed: int | None = None
    position: int = 0
    removed: bool = False
    over: bool = False  # its lifetime

    @property
    def is_lost(self) -> bool:
        """Whether a client that has not seen it must get an eric-reset."""
        return self.removed and not self.over

    def is_to(self, channel: str, listener: Listening | None) -> bool:
        if self.channel != channel:
            return False
        if listener and self.committed and self.committed < listener.born:
            return False
        if self.listener is not None:
            return self.listener is listener
        return self.owner is None or (listener is not None and listener.owner == self.owner)


@dataclass(eq=False)
class View:
    """What one stream shows: a channel as a listener (or None) sees it, after a position."""

    channel: str
    listener: Listening | None
    after: int

    def shows(self, message: Published) -> bool:
        return message.position > self.after and message.is_to(self.channel, self.listener)


@dataclass
class Model:
    """All that was committed, in the log's order as far as that is known."""

    cap: int | None = None  # MAX_WAITING_MESSAGES
    clock: int = 0
    published: int = 0
    # Positions of a log that was lost: floors may name them still.
    forgotten: set[int] = field(default_factory=set)
    messages: dict[int, Published] = field(default_factory=dict)
    log: dict[int, Published] = field(default_factory=dict)

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def publish(
        self, channel: str, listener: Listening | None, owner: str | None, has_lifetime: bool
    ) -> Published:
        """Return a new message, which is in the log once it is committed."""
        self.published += 1
        number = self.published
        message = Published(number, channel, listener, owner, has_lifetime, self.tick())
        self.messages[number] = message
        return message

    def commit(self, messages: Iterable[Published]) -> None:
        now = self.tick()
        for message in messages:
            message.committed = now

    def learn(self, positions: dict[int, int]) -> None:
        """Take the positions, by number, that were given since; they must keep the order."""
        fresh = [self.messages[n] for n, position in positions.items() if position not in self.log]
        for message in fresh:
            assert message.committed, f"{message} has a position, and was not committed"
            assert not message.position, f"{message} has got another position"
            message.position = positions[message.number]
        fresh.sort(key=lambda message: message.position)
        last = max(self.log, default=0)
        for index, message in enumerate(fresh):
            assert message.position > last, f"{message} is not after {last}"
            last = message.position
            for later in fresh[index + 1 :]:
                same = message.committed == later.committed
                assert message.born < later.born if same else not _before(later, message), (
                    f"{later} has its place after {message}, though it was published first"
                )
            self.log[message.position] = message

    def unplaced(self) -> list[Published]:
        """Return what is committed, and has no position that is known."""
        return [m for m in self.messages.values() if m.committed and not m.position]

    def to(self, view: View) -> list[Published]:
        """Return all there ever was in a view, in order."""
        return [message for _, message in sorted(self.log.items()) if view.shows(message)]

    def floor(self, channel: str, listener: Listening | None) -> int:
        """Return the position up to which losses must be reported."""
        lost = (m for m in self.log.values() if m.is_lost and m.is_to(channel, listener))
        return max((message.position for message in lost), default=0)

    # The promises -----------------------------------------------------------------

    def check_start(self, listener: Listening, after: int) -> None:
        """A stream without a Last-Event-ID skips nothing that no client has seen."""
        assert after >= listener.start
        owed = self.to(View(listener.channel, listener, max(listener.served, listener.start)))
        skipped = [m for m in owed if m.position <= after and not m.over]
        assert not skipped, f"a stream begins after {after} and skips {skipped}"

    def check_events(
        self, views: Sequence[View], events: Sequence[Event], last_id: int, is_complete: bool
    ) -> None:
        """
        A client got its messages in order, and all there are up to `last_id`, its last event ID.

        `is_complete` is true if nothing more comes. A loss is reported by an eric-reset.
        """
        last, resets, seen = 0, [], set()
        for event in events:
            position = int(event.last_event_id)
            assert position > last, f"{position} comes after {last}"
            last = position
            kind = event.type.rpartition("/")[2]
            if kind == RESET:
                reset = json.loads(event.data)
                assert reset["after"] < reset["floor"] == position
                resets.append(position)
                self._check_reset(position)
                continue
            message = self.log.get(position)
            assert message, f"an event has the id {position}, which no message has"
            assert json.loads(event.data) == message.number, f"{event} is not {message}"
            assert any(view.shows(message) for view in views), f"{event} is not for it"
            seen.add(position)
        for view in views:
            for message in self.to(view):
                if message.position in seen or message.over:
                    continue
                if message.position > last_id and not is_complete:
                    break
                self._check_missing(message, view, resets, last_id, is_complete)

    def _check_missing(
        self, message: Published, view: View, resets: list[int], last_id: int, whole: bool
    ) -> None:
        may_be = message.removed or (self.cap is not None and view.listener is not None)
        assert may_be, f"{message} was not delivered"
        is_reported = any(message.position <= floor for floor in resets)
        floor = self.floor(view.channel, view.listener)
        will_be = not whole and (self.cap is not None or floor > last_id)
        assert is_reported or will_be, f"{message} was lost, without an eric-reset"

    def _check_reset(self, position: int) -> None:
        if position in self.forgotten:
            return
        if self.cap is None and base_of(position + 1) not in (position, position + 1):
            message = self.log.get(position)
            assert message, f"a reset has the id {position}, which no message had"
            assert message.removed, f"a reset stands for {message}, which is there"

    def check_popped(self, listener: Listening, number: int) -> None:
        """A listener pops its own new messages, and skips none."""
        message = self.messages[number]
        assert message.is_to(listener.channel, listener)
        is_there = not message.removed and not message.over
        assert is_there, f"{message} was popped, and no longer exists"
        assert message.position > max(listener.popped, listener.start), (
            f"{message} was popped twice"
        )
        for each in self._waiting(listener):
            if each.position >= message.position:
                break
            floor = self.floor(listener.channel, listener)
            will_be_reported = each.removed and floor > message.position
            assert will_be_reported or self.cap is not None, f"{message} was popped before {each}"
        listener.popped = message.position
        listener.served = max(listener.served, message.position)

    def check_empty(self, listener: Listening) -> None:
        """A queue is empty when nothing waits."""
        waiting = self._waiting(listener)
        assert not waiting, f"nothing was popped, though {waiting} wait"

    def _waiting(self, listener: Listening) -> list[Published]:
        view = View(listener.channel, listener, max(listener.served, listener.start))
        return [message for message in self.to(view) if not message.over]


def _before(one: Published, other: Published) -> bool:
    """Whether one was committed before the other was published."""
    return one.committed is not None and one.committed < other.born
