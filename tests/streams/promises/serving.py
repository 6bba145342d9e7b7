"""A server process on this thread's loop, and its clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Greatest

from eric_sse_django import log
from eric_sse_django.authorization import revoke
from eric_sse_django.consumers.stream import encoder
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hub import Hub
from eric_sse_django.hub.hub import _hubs
from eric_sse_django.log import Segment, number_of
from eric_sse_django.models import Listener, LogHead
from eric_sse_django.streaming import Stream, Subscription
from tests.streams.promises.faults import faults
from tests.streams.promises.model import Listening, Model, View
from tests.streams.reading import Reader

TIMEOUT_S = 10.0
# Clients are of these sessions, in turn.
SESSIONS = 3


class Page(Reader):
    """A client that takes nothing while it stalls: what is on its way then may never come."""

    async def _write(self, chunk: bytes, more: bool) -> None:
        await self.open.wait()
        await super()._write(chunk, more)


@dataclass(eq=False)
class Client:
    """One stream, and who reads it."""

    reader: Reader
    views: list[View]
    session: int
    until: int | None = None  # the time at which it was asked to end
    fell_back: bool = False

    @property
    def last_id(self) -> int:
        """Its last event id."""
        return int(self.reader.reader.last_event_id or 0)

    @property
    def is_gone(self) -> bool:
        return self.reader.task.done()

    @property
    def is_stalled(self) -> bool:
        return not self.reader.open.is_set()

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing more to do until something is published."""
        return self.is_gone or self.is_stalled or self.reader.stream.reader.is_idle()


class Serving:
    """What World does with clients."""

    model: Model
    loop: asyncio.AbstractEventLoop
    channels: dict[str, DatabaseChannel]
    owners: dict[str, Any]
    listeners: list[Listening]
    clients: list[Client]
    segments: list[Segment]  # that nobody has passed on, in the order of the log
    session: int = 0  # of the client that came last

    def row(self, listener: Listening) -> Listener:
        raise NotImplementedError

    def learn(self) -> None:
        raise NotImplementedError

    def sequence(self, is_passed_on: bool = True) -> None:
        raise NotImplementedError

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, TIMEOUT_S))

    @property
    def hub(self) -> Hub | None:
        return _hubs.get(self.loop)

    # Clients ----------------------------------------------------------------------

    def note(self) -> None:
        """Note what clients have seen."""
        for client in self.clients:
            for view in client.views:
                if view.listener and not view.listener.by_client:
                    for event in client.reader.events:
                        seen = int(event.last_event_id)
                        view.listener.served = max(view.listener.served, seen)

    def connect(
        self,
        places: Sequence[tuple[str, Listening | None]],
        last_event_id: int | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Client:
        """Connect a client; something may happen between its admission and its start."""
        self.note()
        at = self.run(self._position())
        subscriptions = [
            Subscription(
                self.channels[channel].row, None if listener is None else self.row(listener)
            )
            for channel, listener in places
        ]
        if meanwhile is not None:
            meanwhile()
        encode = faults.encode(encoder([self.channels[channel].row for channel, _ in places]))
        self.session = (self.session + 1) % SESSIONS
        known_by = frozenset(f"{kind}:{self.session}" for kind in ("session", "login", "auth"))
        options = {"as_of": at, "subjects": known_by}
        reader = self.run(self._enter(subscriptions, last_event_id, options, encode))
        views = []
        for each, (channel, listener) in zip(subscriptions, places, strict=True):
            views.append(View(channel, listener, each.after))
            if last_event_id is not None:
                highest = max(last_event_id, each.start)
                is_old = number_of(last_event_id) != number_of(reader.stream.reader.applied)
                assert each.after == highest or (is_old and listener and each.after < highest), (
                    f"it begins after {each.after}, not {highest}"
                )
                if listener and listener.by_client:
                    listener.served = max(listener.served, each.after)
            elif listener is not None:
                self.note()  # what others got while it came is seen, too
                self.learn()
                self.model.check_start(listener, each.after)
        client = Client(reader, views, self.session)
        self.clients.append(client)
        return client

    async def _position(self) -> int:
        hub = Hub.for_running_loop()
        await hub.ready()
        return hub.follower.position

    async def _enter(
        self, subscriptions: list[Subscription], last: int | None, options: Any, encode: Any
    ) -> Reader:
        stream = Stream(Hub.for_running_loop(), subscriptions, last, **options)
        reader = Page(stream, _Encoding(encode))  # type: ignore[arg-type]
        return await reader.__aenter__()

    def leave(self, client: Client) -> None:
        """Disconnect a client, and check what it got."""
        self.run(client.reader.__aexit__())
        self.settle_account(client, is_complete=False)

    def settle_account(self, client: Client, is_complete: bool) -> None:
        self.note()
        self.learn()
        events = client.reader.events
        self.model.check_events(client.views, events, client.last_id, is_complete)
        assert client.reader.reader.ignored == []
        # A stream that falls back before it ends gets more: see test_promises.
        if client.until is not None and not client.fell_back:
            for event in events:
                message = self.model.log.get(int(event.last_event_id))
                late = message and message.born > client.until
                assert not late, f"{message} went out, though the stream should have ended before"
        if client.is_gone:
            self.clients.remove(client)

    def look(self) -> None:
        """Make the hub poll the log, and wait until its streams have nothing to do."""
        self.run(self._look())
        self.end_accounts()

    def end_accounts(self) -> None:
        """Check what the streams that have ended got."""
        for client in list(self.clients):
            if client.is_gone:
                self.settle_account(client, is_complete=False)

    def fall_back(self, client: Client) -> None:
        """Make a stream read the log again, as after more than its buffer takes."""
        client.fell_back = True
        client.reader.stream.fall_back()

    def go_blind(self) -> None:
        """Make the hub find that something was removed which it had not read."""
        heads = LogHead.objects.using(log.database())
        heads.update(trimmed=Greatest("trimmed", "position"))
        for client in self.clients:
            client.fell_back = True

    def wake(self) -> None:
        """Make the hub poll the log when the loop runs next."""
        if self.hub is not None:
            self.hub.wake()

    def pass_on(self, at: int, is_kept: bool) -> None:
        """Pass a segment on to the hub, which takes it when the loop runs; it may follow twice."""
        if not self.segments:
            return
        at %= len(self.segments)
        segment = self.segments[at] if is_kept else self.segments.pop(at)
        if self.hub is not None:
            self.hub.wake(segment)

    def pass_channels_on(self, at: int, which: Sequence[int]) -> None:
        """Pass on what a segment has of some channels: in any order, and again."""
        if self.segments and self.hub is not None:
            parts = self.segments[at % len(self.segments)].by_channel()
            for index in which if parts else ():
                self.hub.wake(parts[index % len(parts)])

    def pass_all_on(self) -> None:
        """Pass all segments on in order, as the notifier does, and let streams deliver them."""
        while self.segments:
            self.pass_on(0, is_kept=False)
        self.run(self._rest())
        self.end_accounts()

    async def _look(self) -> None:
        hub = _hubs.get(asyncio.get_running_loop())
        if hub is not None:
            await hub.follower.look()
        await self._rest()

    async def _rest(self) -> None:
        for _ in range(5):  # also streams that stall may begin to write
            await asyncio.sleep(0)
        while not all(client.is_idle for client in self.clients):
            await asyncio.sleep(0.0005)

    def breathe(self, turns: int) -> None:
        """Let the loop run for a few turns."""

        async def breathe() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(breathe())

    def agree(self) -> None:
        """Whoever can get all there is, has it; whoever must be gone, is."""
        self.sequence()
        for client in self.clients:
            client.reader.open.set()
        self.look()
        for client in list(self.clients):
            assert client.until is None, f"{client.views} stay open"
            self.settle_account(client, is_complete=True)

    # What ends streams --------------------------------------------------------------

    def of(self, listener: Listening) -> Iterator[Client]:
        for client in self.clients:
            if any(view.listener is listener for view in client.views):
                yield client

    def tell_to_end(self, client: Client) -> None:
        client.until = client.until or self.model.tick()

    def stop(self, listener: Listening) -> None:
        self.channels[listener.channel].get_listener(listener.name).stop()
        listener.running = False
        for client in self.of(listener):
            self.tell_to_end(client)

    def start(self, listener: Listening) -> None:
        self.channels[listener.channel].get_listener(listener.name).start()
        listener.running = True

    def revoke(self, listener: Listening, of_owner: bool) -> None:
        owner = listener.owner if of_owner else None
        if owner:
            revoke(user=self.owners[owner])
        else:
            revoke(listener=self.row(listener))
        for each in self.listeners:
            if each is listener or (owner and each.owner == owner):
                for client in self.of(each):
                    self.tell_to_end(client)

    def restart(self, is_killed: bool) -> None:
        """End the server process; killed, it writes down nothing."""
        self.run(self._end_server(is_killed))
        for client in list(self.clients):
            self.settle_account(client, is_complete=False)
        assert not self.clients

    async def _end_server(self, is_killed: bool) -> None:
        hub = _hubs.get(asyncio.get_running_loop())
        if hub is not None and is_killed:
            hub.records.due = lambda now: False  # type: ignore[method-assign]
            hub.records.close = _nothing  # type: ignore[method-assign]
        if is_killed:
            for client in self.clients:
                client.reader.task.cancel()
        elif hub is not None:
            await hub.close()
        for client in self.clients:
            client.reader.open.set()
            await client.reader.__aexit__()
        if hub is not None:
            await hub.close()


class _Encoding:
    """What Reader asks of a channel."""

    def __init__(self, encode: Any) -> None:
        self.encode = encode


async def _nothing(*_: object) -> None:
    pass


def beat(client: Client) -> None:
    """Make a stream's heartbeat due."""
    client.reader.stream.on_tick(time.monotonic() + 20)
