"""
The fabric of projects with NATS: a process receives what is for its channels, and for all.

Of NATS it needs no more than its core. nats-py is imported to receive, and to publish where
`nats_publisher` cannot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from eric_sse_django.cancelling import cancel, retrieve, within
from eric_sse_django.wakes.fabric import MALFORMED, Carrier, OnMessage, Parcel, Receiver
from eric_sse_django.wakes.layer import (
    LAYER_TIMEOUT_S,
    Runner,
    are_greenlets,
    importing,
    make_runner,
)
from eric_sse_django.wakes.nats_publisher import (
    IDLE_S,
    JOIN_S,
    TRUST_S,
    NatsPublisher,
    encoded,
)

DEFAULT_NAMESPACE = "eric_sse"
# What FABRIC["OPTIONS"] may have beside "namespace": the arguments of nats.connect() by which a
# client identifies itself and encrypts.
NKEYS_OPTIONS = frozenset(("user_credentials", "nkeys_seed", "nkeys_seed_str"))
CLIENT_OPTIONS = NKEYS_OPTIONS.union(
    ("tls", "tls_hostname", "tls_handshake_first", "user", "password", "token", "name"),
    ("user_jwt_cb", "signature_cb"),
)
_NAMESPACE = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)

# Seconds for connecting to one server.
CONNECT_S = LAYER_TIMEOUT_S
# Seconds for subscribing: 20,000 channels take 0.3 s.
SUBSCRIBE_S = 5.0
# Seconds between two pings of a receiver, and for the answer: a loop may be busy for a while.
PING_S = 5.0
ANSWER_S = 3.0
# Seconds between two changes of the subscriptions: what is wanted meanwhile shares one ping, and
# one read of the log.
BATCH_S = 0.05
# Subscriptions in one turn of the loop: 1 ms.
TURN = 100
# Bytes of a message that are parsed at most: this app sends a quarter of it at most.
MAX_BYTES = 262_144


class NatsFabric:
    """NATS servers at `location`, one address or a list of those; connections have `options`."""

    name = "NATS"
    routes = True

    def __init__(self, location: Any, options: Mapping[str, Any]) -> None:
        """Raise ImproperlyConfigured for what cannot work."""
        problem = problem_of(location, options)
        if problem is not None:
            raise ImproperlyConfigured(problem)
        self._servers = [location] if isinstance(location, str) else list(location)
        self._options = {name: options[name] for name in options if name != "namespace"}
        self._namespace = options.get("namespace", DEFAULT_NAMESPACE)

    def carrier(self) -> Carrier | None:
        if (publisher := self._publisher()) is not None:
            return publisher
        runner = make_runner()
        return None if runner is None else NatsCarrier(self, runner)

    def receiver(self) -> Receiver | None:
        return NatsReceiver(self)

    def probe(self) -> bool:
        if (publisher := self._publisher()) is not None:
            publisher.probe(self.subject("health"))
            return True
        runner = make_runner()
        if runner is None:
            return False
        try:
            runner.run(self._probe())
        finally:
            runner.close()
        return True

    def _publisher(self) -> NatsPublisher | None:
        """Return what publishes without nats-py; None where only that can."""
        if are_greenlets() or not NatsPublisher.can_use(self._options):
            return None
        return NatsPublisher(self._servers, self._options, self.subject_of)

    async def _probe(self) -> None:
        connection = await self.connect()
        try:
            await within(LAYER_TIMEOUT_S, connection.publish(self.subject("health"), b""))
            await connection.verify()
        finally:
            await connection.close_with_tasks()

    def subject(self, name: int | str) -> str:
        """Return the subject of a channel's key, or of another name."""
        return f"{self._namespace}.{name}"

    def subject_of(self, channel: int | None) -> str:
        """Return the subject of a parcel."""
        return self.subject("all" if channel is None else channel)

    async def connect(self, on_end: Callable[[], None] = lambda: None) -> Connection:
        """Return a connection to any of the servers; raise what the last one of them raises."""
        return await within(JOIN_S, self._connect(on_end))

    async def _connect(self, on_end: Callable[[], None]) -> Connection:
        error: Exception = ConnectionError("no NATS server is configured")
        for server in random.sample(self._servers, len(self._servers)):
            connection = Connection(on_end)
            try:
                await within(CONNECT_S, connection.open(server, self._options))
                return connection
            except Exception as its:  # noqa: BLE001 - raised below, if it is the last server's
                error = connection.error or its
            finally:
                if not connection.is_open:
                    await connection.close()
        raise error


def problem_of(location: Any, options: Any) -> str | None:
    """Return what makes FABRIC's LOCATION or OPTIONS unusable for NATS; never a password."""
    servers = [location] if isinstance(location, str) else location
    if not isinstance(servers, (list, tuple)) or not servers or not all(map(_is_server, servers)):
        return 'LOCATION must be addresses such as "nats://10.0.0.1:4222" or "tls://…"'
    if not isinstance(options, Mapping):
        return "OPTIONS must be a dict"
    if unknown := sorted(map(str, options.keys() - CLIENT_OPTIONS - {"namespace"})):
        return f"OPTIONS may not have {', '.join(unknown)}"
    namespace = options.get("namespace", DEFAULT_NAMESPACE)
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        return "OPTIONS['namespace'] must be letters, digits, '_', '-' and dots between them"
    if find_spec("nats") is None:
        return "nats-py is missing: pip install 'eric-sse-django[nats]'"
    if options.keys() & NKEYS_OPTIONS and find_spec("nkeys") is None:
        return "nkeys is missing: pip install 'nats-py[nkeys]'"
    return None


def _is_server(address: Any) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0
    except (AttributeError, TypeError, ValueError):
        return False


class Connection:
    """
    One connection of nats-py to one server, for one loop. Each failure ends it.

    Then its user makes another one, to any server, and knows that messages may be lost. nats-py
    would reconnect silently, and stop after 60 attempts.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        with importing:  # 70 ms
            make_client = import_module("nats.aio.client").Client
        self._client: Any = make_client()
        self._on_end = on_end
        self._ended = asyncio.Event()
        self._pinging: asyncio.Future[Any] | None = None
        self.error: Exception | None = None
        self.is_open = False

    async def open(self, server: str, options: Mapping[str, Any]) -> None:
        """Connect; raise what hinders it."""
        await self._client.connect(
            server,
            **{"name": "eric_sse_django", **options},
            allow_reconnect=False,
            # Without a limit it repeats an attempt that was refused, and never returns.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
        )
        self.error = None  # the first of two attempts may have failed
        self._ended.clear()
        self.is_open = True

    async def publish(self, subject: str, data: bytes) -> None:
        """Send, and wait for no answer."""
        self.check()
        await self._client.publish(subject, data)

    async def subscribe(self, subject: str, inbox: Inbox) -> Any:
        """Receive a subject; return what has `unsubscribe()`."""
        self.check()
        return await self._client.subscribe(subject, future=inbox)

    async def written(self) -> None:
        """Wait until what was sent is with the system; raise if the connection has ended."""
        pause_s = 0.0
        while self._client.pending_data_size:
            self.check()
            await asyncio.sleep(pause_s)
            pause_s = 0.001
        self.check()

    async def verify(self, timeout_s: float = LAYER_TIMEOUT_S) -> None:
        """Wait until the server has read all that was sent; raise if it does not, or has gone."""
        await self.written()  # nats-py's ping overtakes what is not
        # flush() does not ping if what reads has failed; before nats-py 2.15 there is no rtt().
        ping = getattr(self._client, "rtt", self._client.flush)
        # Not cancelled before close(): nats-py logs an error for an answer that nobody waits for.
        self._pinging = asyncio.ensure_future(ping(timeout_s))
        self._pinging.add_done_callback(retrieve)
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            tasks = {self._pinging, ending}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        self.check()
        self._pinging.result()

    def check(self) -> None:
        """Raise if the connection has ended, or the server reported an error."""
        if self._ended.is_set():
            raise self.error or ConnectionError("NATS has closed the connection")

    def end(self, error: Exception) -> None:
        """Note an error that ends it."""
        self.error = self.error or error
        self._ended.set()
        self._on_end()

    async def close(self) -> None:
        """Close it, LAYER_TIMEOUT_S at most; raises nothing."""
        with contextlib.suppress(Exception):
            await within(LAYER_TIMEOUT_S, self._client.close())
        # nats-py has no way to give up what the server does not read.
        writer = getattr(getattr(self._client, "_transport", None), "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        if self._pinging is not None:
            self._pinging.cancel()
        await asyncio.sleep(0)

    async def close_with_tasks(self) -> None:
        """Close it, and end the tasks of its loop; waits twice LAYER_TIMEOUT_S at most."""
        await self.close()
        await cancel(asyncio.all_tasks() - {asyncio.current_task()}, LAYER_TIMEOUT_S)

    async def _on_error(self, error: Exception) -> None:
        # Also what it lets pass: a subject that is not permitted, messages that were dropped.
        self.end(error)

    async def _on_closed(self) -> None:
        self.end(self._client.last_error or ConnectionError("NATS has closed the connection"))


class Inbox(asyncio.Future[Any]):
    """
    Given to nats-py as the future of one answer, it calls back with each message.

    A subscription with a callback has a task: it takes 20 µs instead of 11, and a message 15
    instead of 4. This never drops messages: a server that waits for a slow process closes the
    connection.
    """

    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        super().__init__()
        self._on_data = on_data

    def set_result(self, message: Any) -> None:
        self._on_data(message.data)


class NatsCarrier:
    """Publishes on a loop that runs only meanwhile."""

    def __init__(self, fabric: NatsFabric, runner: Runner) -> None:
        self._fabric, self._runner = fabric, runner
        self._connection: Connection | None = None
        self._used_at = self._verified_at = 0.0

    def send(self, parcels: Sequence[Parcel]) -> None:
        self._runner.run(self._send(parcels))

    def close(self) -> None:
        self._runner.run(self._close())
        self._runner.close()

    async def _send(self, parcels: Sequence[Parcel]) -> None:
        connection = await self._connected()
        await within(LAYER_TIMEOUT_S, self._publish(connection, parcels))
        now = self._used_at = time.monotonic()
        if now - self._verified_at > TRUST_S:
            await connection.verify()
            self._verified_at = now

    async def _publish(self, connection: Connection, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            subject = self._fabric.subject_of(parcel.channel)
            await connection.publish(subject, encoded(parcel))
        await connection.written()

    async def _connected(self) -> Connection:
        now = time.monotonic()
        if self._connection is not None and now - self._used_at > IDLE_S:
            await self._close()
        if self._connection is None:
            self._connection = await self._fabric.connect()
            self._verified_at = now
        return self._connection

    async def _close(self) -> None:
        closing, self._connection = self._connection, None
        if closing is not None:
            await closing.close_with_tasks()


class NatsReceiver:
    """Subscribes to what is for all, and to the channels that are wanted."""

    def __init__(self, fabric: NatsFabric) -> None:
        self._fabric = fabric
        self._wanted: AbstractSet[int] = frozenset()
        self._subscriptions: dict[int, Any] = {}
        self._changed = asyncio.Event()
        self._connection: Connection | None = None

    def want(self, channels: AbstractSet[int]) -> None:
        self._wanted = channels
        self._changed.set()

    async def receive(self, on_message: OnMessage, on_doubt: Callable[[], None]) -> None:
        self._connection = await self._fabric.connect(self._changed.set)
        try:
            await self._receive(self._connection, on_message, on_doubt)
        finally:
            await self.close()

    async def _receive(
        self, connection: Connection, on_message: OnMessage, on_doubt: Callable[[], None]
    ) -> None:
        def on_data(data: bytes) -> None:
            try:
                on_message(decoded(data))
            except Exception as error:  # noqa: BLE001 - receive() raises it
                connection.end(error)

        inbox = Inbox(on_data)
        await connection.subscribe(self._fabric.subject_of(None), inbox)
        is_new = True
        while True:
            self._changed.clear()
            connection.check()
            is_new |= await within(SUBSCRIBE_S, self._adapt(connection, inbox))
            if is_new:
                on_doubt()  # for what was published before this
                is_new = False
            await asyncio.sleep(BATCH_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(PING_S, self._changed.wait())

    async def _adapt(self, connection: Connection, inbox: Inbox) -> bool:
        """Subscribe to what is wanted, and to nothing else; return whether something is new."""
        wanted, has = frozenset(self._wanted), self._subscriptions
        for channel in has.keys() - wanted:
            await has.pop(channel).unsubscribe()
        new = wanted - has.keys()
        for number, channel in enumerate(new, 1):
            has[channel] = await connection.subscribe(self._fabric.subject_of(channel), inbox)
            if number % TURN == 0:
                await asyncio.sleep(0)
        await connection.verify(ANSWER_S)
        return bool(new)

    async def close(self) -> None:
        closing, self._connection = self._connection, None
        if closing is not None:
            await closing.close()


def decoded(data: bytes) -> Mapping[str, Any]:
    """Return the message that was received; MALFORMED where it is none."""
    try:
        message = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        return MALFORMED
    return message if isinstance(message, dict) else MALFORMED
