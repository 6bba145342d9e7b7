"""The log's database: whether it answers, its tables, and what makes it slow or unsafe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from datetime import timezone as zones
from pathlib import Path
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from eric_sse_django.conf import database
from eric_sse_django.doctor import project
from eric_sse_django.doctor.deadline import within
from eric_sse_django.doctor.finding import Finding, error, good, note, warning
from eric_sse_django.log.dialect import MySQL, PostgreSQL, SQLite, dialect_of

# Findings after which there is no log to look at.
WITHOUT_LOG = frozenset({"database.unreachable", "database.tables", "database.not_examined"})
# Seconds for connecting to it: drivers wait for minutes, where a firewall drops the packets.
CONNECT_S = 15.0
# Seconds from which on a transaction counts as open for long.
LONG_S = 300
# Bytes of SQLite's write-ahead log from which on a reader keeps it from being emptied.
MAX_WAL_BYTES = 256 * 1_048_576
MOUNTS = Path("/proc/mounts")
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs"}

SNAPSHOTS = 'Find out what it is, and end it: see "Old snapshots" in docs/operations.md.'
ISOLATION = (
    'Set READ COMMITTED in the server, the role or DATABASES[…]["OPTIONS"]: at a stricter level '
    "publishers fail with serialization errors or deadlocks."
)


def examine() -> Iterator[Finding]:
    alias = database()
    connection = connections[alias]
    try:
        if connection.connection is None:
            within(CONNECT_S, lambda: _connect(alias))
        connection.ensure_connection()
    except (DatabaseError, TimeoutError) as failed:
        text = f"The database {alias!r} cannot be reached: {str(failed).strip()}"
        step = f"Start it, and check DATABASES[{alias!r}], the network and the password."
        yield error("database.unreachable", text, step)
        return
    missing = _unapplied(connection)
    if missing:
        yield error(
            "database.tables",
            f"Migrations of this app are not applied: {', '.join(missing)}.",
            f"Run manage.py migrate --database={alias}.",
        )
        return
    kind = type(dialect_of(connection))
    found = [*project.database_messages(), *_LOOKS.get(kind, _nothing)(connection)]
    yield from found or [good("database.works", f"The database {alias!r} works.")]


def _connect(alias: str) -> None:
    """Connect once, and close it: on a separate thread, which has its own connections."""
    connection = connections[alias]
    try:
        connection.ensure_connection()
    finally:
        connection.close()


def _unapplied(connection: Any) -> list[str]:
    executor = MigrationExecutor(connection)
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "eric_sse_django"]
    plan = [migration for migration, _ in executor.migration_plan(targets)]
    return [each.name for each in plan if each.app_label == "eric_sse_django"]


def _rows(connection: Any, sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _nothing(connection: Any) -> Iterator[Finding]:
    return iter(())


# SQLite -----------------------------------------------------------------------------


def _sqlite(connection: Any) -> Iterator[Finding]:
    [[mode]] = _rows(connection, "PRAGMA journal_mode")
    files = dialect_of(connection).files()
    if mode not in ("wal", "memory"):
        yield warning(
            "database.journal",
            f"SQLite's journal mode is {mode}: readers and writers wait for each other.",
            "Add PRAGMA journal_mode=WAL to init_command, as manage.py check shows.",
        )
    wal = next((Path(file) for file in files if file.endswith("-wal")), None)
    size = wal.stat().st_size if wal is not None and wal.exists() else 0
    if size > MAX_WAL_BYTES:
        yield warning(
            "database.wal",
            f"SQLite's write-ahead log has {size / 1_048_576:.0f} MB: a transaction that is open "
            "for long keeps it from being emptied, and reads get slower.",
            "Find the process that reads for long (lsof on the file), and end it; then "
            "PRAGMA wal_checkpoint(TRUNCATE).",
        )
    for file in files[:1]:
        if (kind := file_system_of(Path(file))) in NETWORK_FILE_SYSTEMS:
            yield error(
                "database.network_file",
                f"The file {file} is on a network file system ({kind}): SQLite's locks do not "
                "work there, and the database may be destroyed.",
                "Put it on a local disk, or use PostgreSQL.",
            )


def file_system_of(path: Path) -> str | None:
    """Return the kind of the file system that a file is on, None if that is unknown."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:  # not Linux
        return None
    mounts = [line.split(" ")[1:3] for line in lines if line.count(" ") >= 2]
    where = path.resolve()
    fitting = [pair for pair in mounts if where.is_relative_to(pair[0])]
    return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else None


# PostgreSQL ---------------------------------------------------------------------------


def _postgresql(connection: Any) -> Iterator[Finding]:
    [[level]] = _rows(connection, "SHOW default_transaction_isolation")
    if level != "read committed":
        text = f"The server's transactions are at {str(level).upper()}."
        yield warning("database.isolation", text, ISOLATION)
    [[commit]] = _rows(connection, "SHOW synchronous_commit")
    if commit == "off":
        yield note(
            "database.durability",
            "synchronous_commit is off: a crash of the server loses the last messages.",
            "Set it to on, unless that is wanted.",
        )
    yield from _postgresql_snapshots(connection)


_TRANSACTIONS = """
    SELECT pid, COALESCE(state, ''), EXTRACT(EPOCH FROM now() - xact_start)::int
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR state LIKE 'idle in%')
      AND xact_start < now() - interval '1 second' * {}
    ORDER BY xact_start LIMIT 3
"""
_SLOTS = """
    SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
    FROM pg_replication_slots
    WHERE NOT active AND (xmin IS NOT NULL OR catalog_xmin IS NOT NULL OR restart_lsn IS NOT NULL)
"""


def _postgresql_snapshots(connection: Any) -> Iterator[Finding]:
    transactions = _rows(connection, _TRANSACTIONS.format(int(LONG_S)))
    for pid, state, seconds in transactions:
        yield warning(
            "database.old_snapshot",
            f"A transaction ({state}, pid {pid}) has been open for {seconds} s: PostgreSQL keeps "
            "dead rows for it, and each read of the log gets slower.",
            SNAPSHOTS,
        )
    prepared = "SELECT gid FROM pg_prepared_xacts WHERE prepared < now() - interval '1 second' * "
    for (gid,) in _rows(connection, f"{prepared}{int(LONG_S)}"):
        text = f"The prepared transaction {gid!r} was never ended: PostgreSQL keeps dead rows."
        yield warning("database.prepared", text, f"COMMIT PREPARED or ROLLBACK PREPARED '{gid}'.")
    for name, size in _rows(connection, _SLOTS):
        yield warning(
            "database.slot",
            f"No replica reads the replication slot {name!r}: PostgreSQL keeps dead rows or "
            f"{(size or 0) / 1_048_576:.0f} MB of its log for it.",
            f"Start its replica, or SELECT pg_drop_replication_slot('{name}').",
        )


# MariaDB and MySQL --------------------------------------------------------------------


def _mysql(connection: Any) -> Iterator[Finding]:
    level = connection.isolation_level or "repeatable read"
    if level != "read committed":
        text = f"The transactions of the connection are at {level.upper()}."
        yield warning("database.isolation", text, ISOLATION)
    [[flush]] = _rows(connection, "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")
    if int(flush) != 1:
        yield note(
            "database.durability",
            f"innodb_flush_log_at_trx_commit is {flush}: a crash of the server loses the last "
            "messages.",
            "Set it to 1, unless that is wanted.",
        )
    since = f"trx_started < NOW() - INTERVAL {int(LONG_S)} SECOND"
    sql = (
        "SELECT trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, trx_started, NOW()) FROM "
        f"information_schema.innodb_trx WHERE {since} AND "
        "trx_mysql_thread_id <> CONNECTION_ID() LIMIT 3"
    )
    try:
        rows = _rows(connection, sql)
    except DatabaseError:  # it needs the privilege PROCESS
        return
    for thread, seconds in rows:
        yield warning(
            "database.old_snapshot",
            f"A transaction (thread {thread}) has been open for {seconds} s: the server keeps old "
            "rows for it, and each read of the log gets slower.",
            f"Find out what it is, and end it: KILL {thread}.",
        )


_LOOKS: dict[type, Callable[[Any], Iterator[Finding]]] = {
    SQLite: _sqlite,
    PostgreSQL: _postgresql,
    MySQL: _mysql,
}
_CLOCKS: dict[type, str] = {
    PostgreSQL: "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    MySQL: "SELECT UNIX_TIMESTAMP(NOW(6))",
}


def clock_of(connection: Any) -> datetime | None:
    """Return the time of a database server, None where it is this machine's."""
    sql = _CLOCKS.get(type(dialect_of(connection)))
    if sql is None:
        return None
    [[seconds]] = _rows(connection, sql)
    return datetime.fromtimestamp(float(seconds), zones.utc)
