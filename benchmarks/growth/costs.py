"""The measured operations. A function runs one `times` times and returns the seconds of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.growth.fill import MEASURED, PAYLOAD_BYTES
from eric_sse_django import log, notifier
from eric_sse_django.database import DatabaseChannel, DatabaseListener
from eric_sse_django.hub import Hub
from eric_sse_django.message import Message
from eric_sse_django.models import QueuedMessage

# Messages that wait for the listener that reconnects.
WAITING = 100
MESSAGE = Message("paid", "x" * (PAYLOAD_BYTES - 2))


class Costs:
    """The costs of one database. It adds two listeners, one offline and one that reconnects."""

    def __init__(self) -> None:
        self.channel = DatabaseChannel.load(MEASURED)
        self.away = self._listener("measured-away")
        self.back = self._listener("measured-back")
        # Offline since the log's beginning: in the full log more than a million messages wait.
        type(self.away.row).objects.filter(pk=self.away.row.pk).update(start=0, cursor=0)
        self.functions: dict[str, Callable[[int], list[float]]] = {
            "publish": self.publish,
            "dispatch": self.dispatch,
            "sequence": self.sequence,
            "deliver": self.deliver,
            "reconnect": self.reconnect,
            "pop": self.pop,
            "poll": self.poll,
        }

    def _listener(self, name: str) -> DatabaseListener:
        listener = self.channel.add_listener(listener_id=name)
        listener.start()
        return listener

    def stock(self, messages: int) -> None:
        """Publish the messages for pop() and reconnect(), also if the database was empty."""
        self.channel.broadcast_many([MESSAGE] * (WAITING + messages))
        notifier.flush()

    def publish(self, times: int) -> list[float]:
        """A broadcast: from the call to the commit."""
        return [self._published(lambda: self.channel.broadcast(MESSAGE)) for _ in range(times)]

    def dispatch(self, times: int) -> list[float]:
        """A dispatch to one of all listeners, found by its id."""
        name = self.away.id
        return [
            self._published(lambda: self.channel.dispatch(name, MESSAGE)) for _ in range(times)
        ]

    def _published(self, publish: Callable[[], None]) -> float:
        began = time.perf_counter()
        publish()
        took = time.perf_counter() - began
        notifier.flush()  # else the next would compete with the sequencing of this one
        return took

    def sequence(self, times: int) -> list[float]:
        """Giving one message its position."""
        took = []
        for _ in range(times):
            log.append([log.row(self.channel.row, MESSAGE)])
            began = time.perf_counter()
            log.sequence()
            took.append(time.perf_counter() - began)
        return took

    def deliver(self, times: int) -> list[float]:
        """From the call of broadcast() to its receipt by an open stream."""
        head, _ = log.head()
        type(self.back.row).objects.filter(pk=self.back.row.pk).update(cursor=head)
        return asyncio.run(self._deliver(times))

    async def _deliver(self, times: int) -> list[float]:
        loop = asyncio.get_running_loop()
        took = []
        stream = self.channel.message_stream(self.back)
        with ThreadPoolExecutor(1) as publisher:
            publishing = loop.run_in_executor(publisher, self.channel.broadcast, MESSAGE)
            await stream.__anext__()
            await publishing
            for _ in range(times):
                began = time.perf_counter()
                publishing = loop.run_in_executor(publisher, self.channel.broadcast, MESSAGE)
                await stream.__anext__()
                took.append(time.perf_counter() - began)
                await publishing
        await stream.aclose()
        await Hub.close_all()
        return took

    def reconnect(self, times: int) -> list[float]:
        """Reading the latest messages of a channel, which wait for a listener that reconnects."""
        row = self.back.row
        rows = QueuedMessage.objects.filter(channel=self.channel.row, listener=None, owner=None)
        after = rows.order_by("-position").values_list("position", flat=True)[WAITING] or 0
        took = []
        for _ in range(times):
            began = time.perf_counter()
            page = log.read([log.Recipient.of(row, after)], None, 1_000)
            took.append(time.perf_counter() - began)
            assert len(page) == WAITING
        return took

    def pop(self, times: int) -> list[float]:
        """The next message of a listener that was offline since the log began."""
        took = []
        for _ in range(times):
            began = time.perf_counter()
            self.channel.deliver_next(self.away.id)
            took.append(time.perf_counter() - began)
        return took

    def poll(self, times: int) -> list[float]:
        """A poll: the log's head, and whether a message waits for its position."""
        took = []
        for _ in range(times):
            began = time.perf_counter()
            log.head()
            took.append(time.perf_counter() - began)
        return took
