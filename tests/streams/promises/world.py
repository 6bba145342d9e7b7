"""The real log, hub and streams, one step at a time, beside the model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import RESET
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.log.limits import forget_counts
from eric_sse_django.message import Message
from eric_sse_django.models import Listener, QueuedMessage
from eric_sse_django.notifier.window import Window
from tests import emptying
from tests.streams.promises.faults import faults
from tests.streams.promises.model import Listening, Model, Published
from tests.streams.promises.serving import TIMEOUT_S, Client, Serving

CHANNELS = ("orders", "stock")
LONG_AGO = timedelta(days=1)


class World(Serving):
    """
    A database with two channels, a server process on this thread's loop, and its clients.

    With `steps` only sequence() gives positions, so that a run can be repeated exactly;
    without, the notifier's thread does, when it comes to it.
    """

    def __init__(self, steps: bool, cap: int | None) -> None:
        faults.reset()
        self.steps = steps
        self.model = Model(cap)
        self.loop = asyncio.new_event_loop()
        self.alias = log.database()
        self.connection = connections[self.alias]
        emptying.empty(self.connection)
        forget_counts()
        users = get_user_model().objects
        self.owners = {name: users.create(username=name) for name in ("ada", "bob")}
        self.channels = {name: DatabaseChannel.create(name) for name in CHANNELS}
        self.listeners: list[Listening] = []
        self.clients: list[Client] = []
        self.others: list[Other] = []
        self.segments = []
        self.window = Window(log.DATABASE)

    # Publishing -------------------------------------------------------------------

    def add_listener(self, channel: str, owner: str | None, by_client: bool) -> None:
        name = f"l{len(self.listeners)}"
        row = self.channels[channel].add_listener(
            owner and self.owners[owner],
            listener_id=name,
            acknowledgement="client" if by_client else "sent",
        )
        row.start()
        self.learn()
        start = row.row.start
        assert start >= max(self.model.log, default=0), "a listener gets what came before it"
        born = self.model.tick()
        self.listeners.append(Listening(name, channel, owner, by_client, start, born))

    def row(self, listener: Listening) -> Listener:
        rows = Listener.objects.using(self.alias).select_related("channel")
        return rows.get(channel__name=listener.channel, name=listener.name)

    def write(self, message: Published) -> None:
        """Publish a message, in the transaction that is open."""
        lives_s = 3_600 if message.has_lifetime else None
        channel, payload = self.channels[message.channel], Message("n", message.number)
        if message.listener is not None:
            channel.dispatch(message.listener.name, payload, expires_in_s=lives_s)
        elif message.owner is not None:
            owner = self.owners[message.owner]
            channel.dispatch_to_owner(owner, payload, expires_in_s=lives_s)
        else:
            channel.broadcast(payload, expires_in_s=lives_s)

    def publish(self, messages: Sequence[Published], end: str) -> None:
        """Publish in one transaction that ends so: commit, rollback, crash."""
        with transaction.atomic(using=self.alias):
            for message in messages:
                self.write(message)
            if end == "rollback":
                transaction.set_rollback(True, using=self.alias)
            if end == "crash":
                # Committed, and the process dies before it rings.
                self.connection.run_on_commit.clear()
        if end != "rollback":
            self.model.commit(messages)

    def publish_alone(self, message: Published) -> None:
        """Publish outside a transaction: it has its position at once, unless others wait."""
        if self.steps:
            with patch.object(notifier.Notifier, "pass_on", lambda _, given: self._keep(given)):
                self.write(message)
        else:
            self.write(message)
        self.model.commit([message])
        self.learn()

    # The log ----------------------------------------------------------------------

    def sequence(self, is_passed_on: bool = True) -> None:
        """Give positions to what is committed, and wake no hub: with `steps` see pass_on()."""
        if self.steps:
            while log.sequence(self._keep if is_passed_on else None):
                pass
        else:
            while log.pending().exists():
                notifier.ring()
                assert notifier.flush(TIMEOUT_S)
        self.learn()
        assert not self.model.unplaced()

    def _keep(self, segment: log.Segment) -> None:
        self.segments.append(self.window.place(segment))

    def learn(self) -> None:
        rows = QueuedMessage.objects.using(self.alias).filter(position__isnull=False, type="n")
        found = rows.values_list("payload", "position")
        self.model.learn({json.loads(payload): position or 0 for payload, position in found})

    def end(self, messages: Sequence[Published]) -> None:
        """Let the time of some messages come: their retention's, or their lifetime's."""
        QueuedMessage.objects.using(self.alias).filter(
            payload__in=[str(message.number) for message in messages], type="n"
        ).update(expires_at=timezone.now() - LONG_AGO)
        for message in messages:
            message.over = message.has_lifetime

    def trim(self, messages: Sequence[Published]) -> None:
        """Remove messages whose time has come."""
        if self.steps:
            self.learn()
        else:
            # The notifier might place what is over just now, and nobody would learn where.
            self.sequence()
        self.end(messages)
        while log.trim():
            pass
        for message in messages:
            message.removed = True
        # Streams whose hub had not read those fall back, between the word and their end.
        for client in self.clients:
            client.fell_back = True

    def pop(self, listener: Listening, rolls_back: bool) -> None:
        channel = self.channels[listener.channel]
        self.note()
        with transaction.atomic(using=self.alias) if rolls_back else _nothing():
            try:
                message = channel.deliver_next(listener.name)
            except NoMessagesException:
                message = None
            if rolls_back:
                transaction.set_rollback(True, using=self.alias)
        if rolls_back:
            return
        self.learn()
        payload: Any = message and message.payload
        if not listener.running:
            assert message is None
        elif message is None:
            self.model.check_empty(listener)
        elif message.type == RESET:
            listener.popped = payload["floor"]
            listener.served = max(listener.served, listener.popped)
        else:
            self.model.check_popped(listener, payload)

    def close(self) -> None:
        """Give all back that the world has taken."""
        for other in self.others:
            other.close()
        self.run(self._end_server(False))
        notifier.close()
        self.loop.close()


class Other:
    """Another publisher, with a transaction that stays open for a while."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[Published] = []
        self._thread = ThreadPoolExecutor(1)
        self._atomic = transaction.atomic(using=world.alias)
        self._call(self._atomic.__enter__)

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._thread.submit(function, *args).result(TIMEOUT_S)

    def publish(self, message: Published) -> None:
        self._call(self.world.write, message)
        self.messages.append(message)

    def end(self, is_committed: bool) -> None:
        if not is_committed:
            self._call(lambda: transaction.set_rollback(True, using=self.world.alias))
        self._call(self._atomic.__exit__, None, None, None)
        if is_committed:
            self.world.model.commit(self.messages)
        self._let_go()

    def close(self) -> None:
        self._call(lambda: transaction.set_rollback(True, using=self.world.alias))
        self._call(self._atomic.__exit__, None, None, None)
        self._let_go()

    def _let_go(self) -> None:
        self._call(connections.close_all)
        self._thread.shutdown()


@contextmanager
def _nothing() -> Iterator[None]:
    yield
