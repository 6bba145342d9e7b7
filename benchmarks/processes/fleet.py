"""Server processes of one site: one database, one Redis, nginx in front of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.processes.nginx import Nginx
from benchmarks.server import Server
from benchmarks.servers import Servers
from benchmarks.subject import OURS, Subject

SITE = Subject(
    OURS,
    "uvicorn",
    "benchmarks.processes.site:application",
    "PostgreSQL",
    "benchmarks.settings",
)
PAYLOAD_BYTES = 200


@dataclass(frozen=True)
class Facts:
    """What one process has done since it started."""

    cpu_s: float
    statements: float
    streams: int

    def since(self, before: Facts) -> Facts:
        """Return what it did since `before`, with its current number of streams."""
        statements = self.statements - before.statements
        return Facts(self.cpu_s - before.cpu_s, statements, self.streams)


class Fleet:
    """A context manager. `servers` are the processes, `port` is that of nginx."""

    def __init__(
        self, servers: Servers, processes: int, settings: Mapping[str, Any] | None = None
    ) -> None:
        """`settings` are ERIC_SSE's."""
        self._environment = servers.environment(SITE, sys.executable, redis=True)
        self._environment["ERIC_SSE_BENCH_SETTINGS"] = json.dumps(settings or {})
        self._processes = processes
        self._stack = ExitStack()
        self.servers: list[Server] = []

    def __enter__(self) -> Fleet:
        cores = sorted(os.sched_getaffinity(0))
        with ExitStack() as stack:
            for number in range(self._processes):
                core = cores[number % len(cores)]
                server = Server(SITE, sys.executable, self._environment, core)
                self.servers.append(stack.enter_context(server))
            nginx = Nginx([server.port for server in self.servers])
            self.port = stack.enter_context(nginx).port
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self, channel: str, listeners: int) -> list[str]:
        """Create a channel and its listeners; return the paths of their streams."""
        paths: list[str] = json.loads(self.servers[0].ask(f"/prepare/{channel}/{listeners}"))
        return paths

    def facts(self) -> list[Facts]:
        """Return the facts of each process."""
        return [Facts(**json.loads(server.ask("/facts"))) for server in self.servers]


def publishing(channel: str, first: int, count: int, per_s: float, how: str = "each") -> str:
    """Return the path that publishes `count` messages, numbered from `first`."""
    return f"/publish/{channel}/{how}/{first}/{count}/{PAYLOAD_BYTES}/{per_s}"


def cpu_s(name: str) -> float:
    """Return the CPU seconds of our child processes with a name (postgres, nginx)."""
    family = psutil.Process().children(recursive=True)
    return sum(sum(each.cpu_times()[:4]) for each in family if each.name() == name)
