"""The databases of servers under test: fresh ones, with PostgreSQL, Redis and NATS."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks import cpu
from benchmarks.database import SYNCHRONOUS, VARIABLE
from benchmarks.server import ROOT, ServerError, environment_of
from benchmarks.subject import Subject
from tests import servers
from tests.server import Server as RealServer


class Guarded(RealServer):
    """A server that ends with the harness, also when the harness is killed."""

    def command(self) -> list[str]:
        setpriv = shutil.which("setpriv")
        # INT: PostgreSQL then stops at once and cleanly.
        guard = [] if setpriv is None else [setpriv, "--pdeathsig", "INT", "--"]
        return [*guard, *super().command()]


class Postgres(Guarded, servers.Postgres):
    """PostgreSQL that ends with the harness; commits are synced to disk."""


class Redis(Guarded, servers.Redis):
    """Redis that ends with the harness."""


class Nats(Guarded, servers.Nats):
    """NATS that ends with the harness."""


class Servers:
    """Databases and servers of one run; a context manager that ends and removes them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder = Path()
        self._postgres: Postgres | None = None
        self._redis: Redis | None = None
        self._nats: Nats | None = None
        self._templates: dict[Subject, str] = {}
        self._numbers = itertools.count(1)

    def cpu_s(self, *names: str | None) -> float:
        """Return the CPU seconds of those of these servers that run: PostgreSQL, Redis, NATS."""
        servers: dict[str, Guarded | None]
        servers = {"PostgreSQL": self._postgres, "Redis": self._redis, "NATS": self._nats}
        running = [server for name in names if (server := servers.get(name or "")) is not None]
        found = [psutil.Process(server.process.pid) for server in running if server.process]
        return sum(cpu.cpu_s(cpu.family(process)) for process in found)

    def __enter__(self) -> Servers:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def absence(subject: Subject) -> str | None:
        """Return why this machine lacks the subject's database, None if it has it."""
        return Postgres.absence() if subject.database == "PostgreSQL" else None

    def environment(self, subject: Subject, python: str, redis: bool = False) -> dict[str, str]:
        """Return the variables with the address of a fresh, migrated database (and Redis)."""
        found = {}
        if subject.database is not None:
            if subject not in self._templates:
                self._templates[subject] = self._template(subject, python)
            found[VARIABLE] = self._copy(subject, self._templates[subject])
            found[SYNCHRONOUS] = subject.synchronous
        if redis:
            found["ERIC_SSE_BENCH_REDIS"] = str(self._running_redis().port)
        return found

    def nats(self) -> dict[str, str]:
        """Return the FABRIC of a running NATS."""
        if self._nats is None:
            self._nats = self._stack.enter_context(Nats())
        return {"BACKEND": "eric_sse_django.wakes.nats.NatsFabric", "LOCATION": self._nats.url}

    def _template(self, subject: Subject, python: str) -> str:
        """Create an empty database with the subject's tables; return its address."""
        address = self._address(subject, f"template_{len(self._templates)}")
        if subject.database == "PostgreSQL":
            self._sql(f"CREATE DATABASE {address.rpartition('/')[2]}")
        done = subprocess.run(
            [python, "-m", "django", "migrate", "-v", "0"],
            cwd=ROOT,
            env=environment_of(subject, {VARIABLE: address}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise ServerError(
                f"{subject}: its tables could not be created: {done.stderr[-2_000:]}"
            )
        return address

    def _copy(self, subject: Subject, template: str) -> str:
        address = self._address(subject, f"bench_{next(self._numbers)}")
        if subject.database == "PostgreSQL":
            names = [each.rpartition("/")[2] for each in (address, template)]
            self._sql("CREATE DATABASE {} TEMPLATE {}".format(*names))
        else:
            shutil.copy(template, address)
        return address

    def _address(self, subject: Subject, name: str) -> str:
        if subject.database != "PostgreSQL":
            return str(self._folder / f"{name}.sqlite3")
        if self._postgres is None:
            self._postgres = self._stack.enter_context(Postgres(durable=True))
        return self._postgres.dsn.rpartition("/")[0] + f"/{name}"

    def _running_redis(self) -> Redis:
        if self._redis is None:
            self._redis = self._stack.enter_context(Redis())
        return self._redis

    def _sql(self, statement: str) -> None:
        import psycopg  # noqa: PLC0415 - not needed without PostgreSQL

        assert self._postgres is not None
        with psycopg.connect(self._postgres.dsn, autocommit=True) as connection:
            connection.execute(statement)
