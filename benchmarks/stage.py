"""One subject's server, freshly started, and the requests of a work to it."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.client import Crowd
from benchmarks.cpu import Cpu
from benchmarks.scale import Scale
from benchmarks.server import CLIENT_CORE, SERVER_CORE, Server
from benchmarks.servers import Servers
from benchmarks.subject import Subject

OTHER_CHANNEL = "before"
CHANNEL = "ticks"
# Seconds that one listener may take to create, on a busy machine: it takes 1 to 2 ms.
LISTENER_S = 0.05


@dataclass(frozen=True)
class Apart:
    """
    Another process than the server publishes; `fabric` carries the wakes.

    `has_core`: it has the core of the server, which does nothing meanwhile. Else it shares the
    other one with the databases and the client.
    """

    fabric: str = "Redis"
    has_core: bool = False


class Stage:
    """A context manager. `server` serves the streams, `publisher` publishes."""

    def __init__(
        self,
        servers: Servers,
        subject: Subject,
        python: str,
        scale: Scale,
        apart: Apart | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """`settings` are added to this app's ERIC_SSE."""
        self.subject, self.scale, self._servers = subject, scale, servers
        fabric, given = None if apart is None else apart.fabric, dict(settings or {})
        self._environment = servers.environment(subject, python, redis=fabric == "Redis")
        if fabric == "NATS":
            given["FABRIC"] = servers.nats()
        self._environment["ERIC_SSE_BENCH_SETTINGS"] = json.dumps(given)
        self._python, self._apart = python, apart
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        with ExitStack() as stack:
            of = (self.subject, self._python, self._environment)
            self.server = self.publisher = stack.enter_context(Server(*of))
            if self._apart is not None:
                core = SERVER_CORE if self._apart.has_core else CLIENT_CORE
                self.publisher = stack.enter_context(Server(*of, core=core))
            self._stack = stack.pop_all()
        gc.collect()
        gc.disable()  # else the client's own pauses are part of the figures
        return self

    def __exit__(self, *_: object) -> None:
        gc.enable()
        self._stack.close()

    def prepare(self, listeners: int) -> list[str]:
        """Create the channel and its listeners; return the paths of their streams."""
        return self._prepare(self.server, listeners)

    def prepare_elsewhere(self, listeners: int) -> list[str]:
        """
        As prepare(), by another process where there is a database.

        In the memory that creating listeners leaves behind streams would cost nothing.
        """
        if self.subject.database is None:
            return self.prepare(listeners)
        of = (self.subject, self._python, self._environment)
        with Server(*of, core=CLIENT_CORE) as another:
            return self._prepare(another, listeners)

    def _prepare(self, server: Server, listeners: int) -> list[str]:
        patience_s = max(self.scale.patience_s, listeners * LISTENER_S)
        found: list[str] = json.loads(server.ask(f"/prepare/{CHANNEL}/{listeners}", patience_s))
        return found

    @contextmanager
    def crowd(
        self, paths: Sequence[str], expected: int, timed: bool = False, warm: bool = True
    ) -> Iterator[Crowd]:
        """
        Open a stream for each path; each expects `expected` messages.

        With `warm` it first gets number 0, so that threads and connections exist.
        """
        with Crowd(self.server.port, expected, timed) as crowd:
            crowd.open(paths, self.subject.greets)
            if warm:
                self.publish("each", 0, 1)
                crowd.until(1, self.scale.patience_s)
                crowd.read_for(0.2)
                crowd.digest()
                del crowd.delays_ns[:]
            yield crowd

    def cpu(self) -> Cpu:
        """Return the CPU time so far of all processes that serve, publish and keep."""
        used = [self.subject.database, self._apart.fabric if self._apart else None]
        processes = {self.server, self.publisher}
        return Cpu(sum(each.cpu_s() for each in processes), self._servers.cpu_s(*used))

    def publish_elsewhere(self) -> None:
        """Publish a message to another channel, so that the log is not one that never had any."""
        self.server.ask(f"/prepare/{OTHER_CHANNEL}/0")
        self.server.ask(f"/publish/{OTHER_CHANNEL}/each/0/1/{self.scale.payload_bytes}/0")

    def publish(self, how: str, first: int, count: int, per_s: float = 0) -> float:
        """Publish, and return the seconds that the calls took."""
        return float(self.publisher.ask(self._publish(how, first, count, per_s)))

    def publish_meanwhile(self, how: str, first: int, count: int, per_s: float = 0) -> Future[str]:
        """As publish(), without waiting, so that the crowd can be read."""
        return self.publisher.ask_meanwhile(self._publish(how, first, count, per_s))

    def _publish(self, how: str, first: int, count: int, per_s: float) -> str:
        size = self.scale.payload_bytes
        return f"/publish/{CHANNEL}/{how}/{first}/{count}/{size}/{per_s}"
