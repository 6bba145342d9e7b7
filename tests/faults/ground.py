"""The ground of a command: a database and a Redis of its own, and Django on top."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.mortal import mortal
from tests.live.asgi_servers import ASGIServer
from tests.server import Server
from tests.servers import MariaDB, Postgres, Redis

DATABASES = ("sqlite", "postgres", "mariadb")
# A client that was cut off comes back soon: a run has no time for three seconds.
SETTINGS = {"RETRY_MS": 100}


@dataclass(frozen=True)
class Ground:
    """What runs below: `environment` is what every process of the run gets."""

    database: str
    environment: Mapping[str, str]
    servers: Mapping[str, Server]

    def serve(self, server: str, **options: Any) -> ASGIServer:
        """Return an ASGI server on this ground, not started yet, that dies with us."""
        made = ASGIServer(server, environment=self.environment, **options)
        made.command = mortal(made.command)
        return made


@contextmanager
def ground(
    database: str, settings: Mapping[str, Any] | None = None, directory: Path | None = None
) -> Iterator[Ground]:
    """
    Start the database (beside a server also Redis), migrate it, and set Django up on it.

    SQLite's file is in `directory`, or in one of its own, which goes with us. Once in a
    process: Django's settings are read here. Raises RuntimeError where the server is not
    installed.
    """
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        if database != "sqlite":
            kind: type[Server] = {"postgres": Postgres, "mariadb": MariaDB}[database]
            for name, of in ((database, kind), ("redis", Redis)):
                servers[name] = _started(stack, of)
        if directory is None:
            made = tempfile.TemporaryDirectory(prefix="eric_sse_run_")
            directory = Path(stack.enter_context(made))
        own = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ERIC_SSE_TEST_DB": _address(database, servers, directory),
            "ERIC_SSE_TEST_SETTINGS": json.dumps({**SETTINGS, **(settings or {})}),
        }
        if "redis" in servers:
            own["ERIC_SSE_TEST_REDIS"] = str(servers["redis"].port)
        os.environ |= own
        _migrate()
        yield Ground(database, {**os.environ}, servers)


def _started(stack: ExitStack, kind: type[Server]) -> Server:
    reason = kind.absence()
    if reason is not None:
        raise RuntimeError(f"{reason}: install it, or use --database sqlite.")
    server = kind()
    command = server.command
    server.command = lambda: mortal(command())  # type: ignore[method-assign]
    return stack.enter_context(server)


def _address(database: str, servers: Mapping[str, Server], directory: Path) -> str:
    if database == "sqlite":
        return f"sqlite::{directory / 'run.sqlite3'}"
    port = servers[database].port
    if database == "postgres":
        return f"postgres:{port}:postgres"
    import pymysql

    with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection:
        connection.cursor().execute("CREATE DATABASE eric_sse CHARACTER SET utf8mb4")
    return f"mariadb:{port}:eric_sse"


def _migrate() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
