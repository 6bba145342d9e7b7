"""The random calls, and what is compared after each."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.database.eric.worlds import CHANNELS, WORLDS, World

TEXT = st.text(max_size=6)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.just("boom"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
# Documented: line breaks, NUL and what begins with "eric-" are refused in the database.
TYPES = st.sampled_from(["count", "paid", "start", "ä ☃", "a b", "x" * 255])
IDS = st.sampled_from([None, "till-7", "user@example.org"])
MESSAGES = st.tuples(TYPES, JSON, IDS, IDS)
CHANNEL = st.sampled_from(CHANNELS)

_numbers = itertools.count()


class SameAsEric(RuleBasedStateMachine):
    """Makes each call in all worlds; they return the same, or raise the same."""

    runner: Any  # of coroutines; the test closes it

    def __init__(self) -> None:
        super().__init__()
        number = next(_numbers)
        self.worlds: list[World] = [kind(self.runner, number) for kind in WORLDS]
        self.handles: list[int] = []
        self.added: set[int] = set()  # by add_listener(): in the database, of one channel
        self.home: dict[int, str | None] = {}
        self.connected: dict[str, set[int]] = {name: set() for name in CHANNELS}
        self.waiting: dict[tuple[str, int], int] = {}
        self.names: dict[int, str] = {}

    # What is compared ---------------------------------------------------------------

    def do(self, method: str, *args: Any) -> Any:
        """Make a call in all worlds, and compare; return what eric-sse did."""
        results = [self.result(world, method, args) for world in self.worlds]
        for world, result in zip(self.worlds[1:], results[1:], strict=True):
            assert result == results[0], (type(world).__name__, method, args)
        for handle in self.handles:
            received = [world.received.get(handle) for world in self.worlds]
            assert all(each == received[0] for each in received), (method, args, received)
        return results[0]

    @staticmethod
    def result(world: World, method: str, args: Any) -> Any:
        try:
            return "returned", getattr(world, method)(*args)
        except (AssertionError, asyncio.TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - it is compared
            return "raised", type(error).__name__

    def is_home(self, channel: str, handle: int) -> bool:
        """Documented: the object of a DatabaseListener is of the channel registered with last."""
        return handle not in self.added or self.home[handle] == channel

    def pick(self, data: Any) -> int:
        return data.draw(st.sampled_from(self.handles), label="listener")

    # Listeners ----------------------------------------------------------------------

    @initialize(channel=CHANNEL)
    def begin(self, channel: str) -> None:
        self.add_listener(channel)

    @rule(channel=CHANNEL)
    def add_listener(self, channel: str) -> None:
        handle = len(self.handles)
        self.do("add_listener", channel, handle)
        self.handles.append(handle)
        self.added.add(handle)
        self._register(channel, handle)

    @rule(name=st.sampled_from(["till-7", "screen"]))
    def make_listener(self, name: str) -> None:
        if name not in self.names.values():
            handle = len(self.handles)
            self.do("make_listener", handle, name)
            self.handles.append(handle)
            self.names[handle], self.home[handle] = name, None

    def _register(self, channel: str, handle: int) -> None:
        self.connected[channel].add(handle)
        self.home[handle] = channel
        self.waiting.setdefault((channel, handle), 0)

    @rule(channel=CHANNEL, data=st.data())
    def register_listener(self, channel: str, data: Any) -> None:
        handle = self.pick(data)
        self.do("register_listener", channel, handle)
        self._register(channel, handle)

    @rule(channel=CHANNEL, data=st.data())
    def register_connection(self, channel: str, data: Any) -> None:
        handle = self.pick(data)
        if handle in self.added and not self.is_home(channel, handle):
            return  # if it has a queue, nothing binds the object to another channel
        self.do("register_connection", channel, handle)
        self._register(channel, handle)
        self.waiting[channel, handle] = 0

    @rule(channel=CHANNEL, data=st.data())
    def remove_listener(self, channel: str, data: Any) -> None:
        handle = self.pick(data)
        self.do("remove_listener", channel, handle)
        self.connected[channel].discard(handle)
        self.waiting.pop((channel, handle), None)
        if self.home[handle] == channel:
            self.home[handle] = None

    @rule(channel=CHANNEL, data=st.data())
    def get_listener(self, channel: str, data: Any) -> None:
        handle = self.pick(data)
        if handle not in self.connected[channel] or self.is_home(channel, handle):
            self.do("get_listener", channel, handle)

    @rule(channel=CHANNEL)
    def get_connections(self, channel: str) -> None:
        self.do("connected", channel)

    @rule(data=st.data())
    def start(self, data: Any) -> None:
        handle = self.pick(data)
        # Documented: start() of a DatabaseListener that was removed raises.
        if handle not in self.added or self.home[handle] is not None:
            self.do("start", handle)

    @rule(data=st.data())
    def stop(self, data: Any) -> None:
        self.do("stop", self.pick(data))

    @rule(data=st.data())
    def is_running(self, data: Any) -> None:
        self.do("is_running", self.pick(data))

    # Messages -----------------------------------------------------------------------

    @rule(channel=CHANNEL, message=MESSAGES, data=st.data())
    def dispatch(self, channel: str, message: Any, data: Any) -> None:
        handle = self.pick(data)
        self.do("dispatch", channel, handle, message)
        if handle in self.connected[channel]:
            self.waiting[channel, handle] += 1

    @rule(channel=CHANNEL, message=MESSAGES)
    def broadcast(self, channel: str, message: Any) -> None:
        self.do("broadcast", channel, message)
        for handle in self.connected[channel]:
            self.waiting[channel, handle] += 1

    @rule(channel=CHANNEL, data=st.data())
    def deliver_next(self, channel: str, data: Any) -> None:
        handle = self.pick(data)
        if handle in self.connected[channel] and not self.is_home(channel, handle):
            return
        kind, what = self.do("deliver_next", channel, handle)
        if kind == "returned" or what == "Boom":
            self.waiting[channel, handle] -= 1

    @rule(channel=CHANNEL, message=MESSAGES, data=st.data())
    def push(self, channel: str, message: Any, data: Any) -> None:
        handle = self.pick(data)
        if handle in self.connected[channel]:
            self.do("push", channel, handle, message)
            self.waiting[channel, handle] += 1

    @rule(channel=CHANNEL, data=st.data())
    def pop(self, channel: str, data: Any) -> None:
        handle = self.pick(data)
        if handle in self.connected[channel] and self.do("pop", channel, handle)[0] == "returned":
            self.waiting[channel, handle] -= 1

    # Streams ------------------------------------------------------------------------

    @precondition(lambda self: self.runner is not None)
    @rule(channel=CHANNEL, data=st.data(), most=st.integers(1, 3))
    def stream(self, channel: str, data: Any, most: int) -> None:
        handle = self.pick(data)
        is_connected = handle in self.connected[channel]
        if is_connected and not self.is_home(channel, handle):
            return
        waits = self.waiting.get((channel, handle), 0)
        # An unknown listener's error is an event; of one that does not run nothing comes.
        runs = self.worlds[0].is_running(handle)
        number = min(most, waits) if is_connected and runs else 1
        self.do("stream", channel, handle, number)
        if is_connected and runs:
            self.waiting[channel, handle] -= number

    @precondition(lambda self: self.runner is not None)
    @rule(channel=CHANNEL, message=MESSAGES)
    def watch(self, channel: str, message: Any) -> None:
        self.do("watch", channel, message)
        for handle in self.connected[channel]:
            self.waiting[channel, handle] += 1

    def teardown(self) -> None:
        for world in self.worlds:
            world.close()
