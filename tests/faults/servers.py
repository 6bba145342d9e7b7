"""The servers of a command: a database, Redis and NATS, with Django set up for them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.ending import ending_with_parent
from tests.live.asgi_servers import ASGIServer
from tests.server import Server
from tests.servers import MariaDB, Nats, Postgres, Redis

DATABASES = ("sqlite", "postgres", "mariadb")
# Clients reconnect soon: the default of three seconds is too long for a run.
SETTINGS = {"RETRY_MS": 100}


@dataclass(frozen=True)
class Servers:
    """The database servers of a run. `environment` is that of all its processes."""

    database: str
    environment: Mapping[str, str]
    running: Mapping[str, Server]

    def serve(self, server: str, **options: Any) -> ASGIServer:
        """Return an ASGI server that uses them, not started yet; it ends with this process."""
        return ASGIServer(server, environment=self.environment, dies_with_us=True, **options)


@contextmanager
def running_servers(
    database: str,
    settings: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    nats: bool = False,
) -> Iterator[Servers]:
    """
    Start the database (with a database server also Redis), migrate it, and set Django up for it.

    `nats` carries the wakes instead, and the messages in them. SQLite's file is in `directory`, or
    in a temporary one. Call it once in a process, because Django's settings are read here. Raises
    RuntimeError if the server is not installed.
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
        settings = {**SETTINGS, **(settings or {})}
        if nats:
            servers["nats"] = _started(stack, Nats)
            settings |= nats_settings(servers["nats"].port, WAKES_CARRY="messages")
        own = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ERIC_SSE_TEST_DB": _address(database, servers, directory),
            "ERIC_SSE_TEST_SETTINGS": json.dumps(settings),
        }
        if "redis" in servers:
            own["ERIC_SSE_TEST_REDIS"] = str(servers["redis"].port)
        os.environ |= own
        _migrate()
        yield Servers(database, {**os.environ}, servers)


def nats_settings(*ports: int, **others: Any) -> dict[str, Any]:
    """Return ERIC_SSE of a site whose wakes go through NATS at ports of loopback."""
    location = [f"nats://127.0.0.1:{port}" for port in ports]
    backend = "eric_sse_django.wakes.nats.NatsFabric"
    return {"FABRIC": {"BACKEND": backend, "LOCATION": location}, **others}


def _started(stack: ExitStack, kind: type[Server]) -> Server:
    reason = kind.absence()
    if reason is not None:
        raise RuntimeError(f"{reason}: install it, or use --database sqlite.")
    server = kind()
    command = server.command
    server.command = lambda: ending_with_parent(command())  # type: ignore[method-assign]
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
