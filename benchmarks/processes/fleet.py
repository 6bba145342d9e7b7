"""Server processes of one site: the same database, the same Redis, nginx before them."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass

import psutil

from benchmarks.ground import Ground
from benchmarks.processes.nginx import Nginx
from benchmarks.server import Server
from benchmarks.subject import OURS, Subject

SITE = Subject(
    OURS,
    "uvicorn",
    "benchmarks.processes.site:application",
    "PostgreSQL",
    "benchmarks.settings",
)
# Idle streams are looked after by each process; what is measured lasts longer than that.
PAYLOAD_BYTES = 200


@dataclass(frozen=True)
class Facts:
    """What one process has done since it began."""

    cpu_s: float
    statements: int
    streams: int

    def since(self, before: Facts) -> Facts:
        """Return what it did since `before`; streams are those of now."""
        statements = self.statements - before.statements
        return Facts(self.cpu_s - before.cpu_s, statements, self.streams)


class Fleet:
    """A context manager. `servers` are the processes, `port` is nginx's."""

    def __init__(self, ground: Ground, processes: int) -> None:
        self._environment = ground.environment(SITE, sys.executable, redis=True)
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
        """Make a channel and its listeners; return the paths of their streams."""
        paths: list[str] = json.loads(self.servers[0].ask(f"/prepare/{channel}/{listeners}"))
        return paths

    def facts(self) -> list[Facts]:
        """Return each process's."""
        return [Facts(**json.loads(server.ask("/facts"))) for server in self.servers]


def publishing(channel: str, first: int, count: int, per_s: float, how: str = "each") -> str:
    """Return the path that publishes so many messages, numbered from `first`."""
    return f"/publish/{channel}/{how}/{first}/{count}/{PAYLOAD_BYTES}/{per_s}"


def cpu_s(name: str) -> float:
    """Return the seconds of CPU that our servers of a name (postgres, nginx) have taken."""
    family = psutil.Process().children(recursive=True)
    return sum(sum(each.cpu_times()[:4]) for each in family if each.name() == name)
