"""
Which database this is: flags, as in Django's `features`, and spellings of SQL.

No other module asks for a vendor. Another database is one more class here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from datetime import timezone as zones
from functools import cached_property, lru_cache, partial
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from eric_sse_django.entry import Addressed, Entry
from eric_sse_django.models import Channel, Listener, LogHead, QueuedMessage, database

# In the order of Entry's arguments; the last of these, `time_of`, is not a column.
ENTRY_FIELDS = (
    *("position", "channel", "listener", "owner", "type", "payload"),
    *("sender", "uid", "created_at", "expires_at"),
)
CHANNEL, _OWNER = ENTRY_FIELDS.index("channel"), ENTRY_FIELDS.index("owner")
PAYLOAD = ENTRY_FIELDS.index("payload")
# The payload's place in a row without the address's three columns.
PAYLOAD_TO = PAYLOAD - 3
CREATED_AT, _EXPIRES_AT = ENTRY_FIELDS.index("created_at"), ENTRY_FIELDS.index("expires_at")

# SELECTs in one statement: SQLite's limit is 500.
MAX_BRANCHES = 400

# The system identifier comes from initdb; a promoted replica and a restore to a point in time
# begin a timeline; a database and a table that were created again have another number. Any
# role may query it, it takes 0.5 ms.
_POSTGRESQL_IDENTITY = """
    SELECT system_identifier, pg_walfile_name(pg_current_wal_lsn()),
        (SELECT oid FROM pg_database WHERE datname = current_database()), %s::regclass::oid
    FROM pg_control_system()
"""
# Servers that replicate each other have different ids; those of a cluster share its name.
_MYSQL_VARIABLES = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN "
    "('server_uuid', 'server_id', 'group_replication_group_name')"
)
_MYSQL_CLUSTER = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'"
# A Galera cluster's; of the session, which `init_command` may have set. Bit 1: reads wait.
_MYSQL_WSREP = "SHOW SESSION VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_sync_wait')"
_MYSQL_TABLE = (
    "SELECT UNIX_TIMESTAMP(create_time) FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_name = %s"
)


class Dialect:
    """One connection's database: what all databases can do. A subclass can do more."""

    # Several statements without parameters are one call, and one transaction.
    one_call = False
    # A call costs more than a join: a look reads the head and the new rows in one statement.
    joins_head = False
    # A list is one parameter: UNNEST() makes rows of several.
    arrays = False
    # VALUES is a table to join. A union of many SELECTs is planned as if all were expensive.
    joins_values = False
    # A condition on an outer query's row can begin a range of an index.
    correlated_ranges = True
    # In a transaction only a locking SELECT sees what others have committed meanwhile.
    stale_snapshot = False
    # A row that is inserted alone can get its position at once: see inserting. MariaDB would take
    # six calls instead of one.
    places = False
    # WITH can insert and update.
    writes_in_with = False
    # UPDATE can return rows.
    returns_updates = False
    # INSERT … SELECT locks the rows that it reads until the transaction ends.
    insert_select_locks = False
    # A table can be in partitions.
    partitions = False
    # The database is a file of this machine, whose times change with each commit.
    is_file = False
    # Columns of ORDER BY for which an index needs no sort: of messages with one address
    # (eric_log_read), and of messages without a position (eric_log_tail).
    address_order: tuple[str, ...] = ("listener_id", "owner_id", "position")
    pending_order: tuple[str, ...] = ("position", "id")
    # The end of a query for one of the messages without a position.
    any_pending = "LIMIT 1"
    greatest = "GREATEST"
    # A JSON text as the value of a column.
    json_value = "%s"
    # The database's clock: milliseconds since 1970.
    clock_ms = ""
    # Before a column that is compared with its exact case.
    exact = ""
    # The bytes of a payload. PostgreSQL knows those of a large text without reading it.
    size = "OCTET_LENGTH(payload)"
    # Connection options that bound the wait for a link that is down.
    timeouts: tuple[str, ...] = ()

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        # The driver's connection whose database was compared with the head's: see history.
        self.compared: Any = None
        # The driver's connection, and the number of its file when it was opened.
        self.opened: tuple[Any, int | None] = None, None
        self.log, self.heads, self.channels, self.listeners = (
            connection.ops.quote_name(model._meta.db_table)
            for model in (QueuedMessage, LogHead, Channel, Listener)
        )
        # Has a row if a message waits for its position.
        self.waits = f"SELECT 1 FROM {self.log} WHERE position IS NULL {self.any_pending}"

    @cached_property
    def skips_locked(self) -> bool:
        """Whether a query can skip the rows that others have locked."""
        return bool(self.connection.features.has_select_for_update_skip_locked)

    @cached_property
    def for_update(self) -> str:
        """The clause that locks rows, "" where a transaction that writes is the only one."""
        features = self.connection.features
        if not features.has_select_for_update:
            return ""
        return "FOR NO KEY UPDATE" if features.has_select_for_no_key_update else "FOR UPDATE"

    def is_in_transaction(self) -> bool:
        """
        Return whether the connection is in a transaction, also in one that Django does not know.

        Of a connection that is open: by a BEGIN of the project, or a function of the driver.
        """
        return not self.connection.get_autocommit()

    def writer(self) -> AbstractContextManager[Any]:
        """Return a cursor for a statement whose rows nobody reads later."""
        cursor: AbstractContextManager[Any] = self.connection.cursor()
        return cursor

    def stamp(self, column: str) -> str:
        """Return what to select for a time that is only compared, and mostly not converted."""
        return column

    def now(self) -> Any:
        """Return the present time as a parameter."""
        return self.time(timezone.now())

    def time(self, moment: Any) -> Any:
        """Return a datetime as a parameter."""
        return self.connection.ops.adapt_datetimefield_value(moment)

    def key(self, column: str, value: Any) -> Any:
        """Return a key as a parameter: a user's may be of any type."""
        return field_of(column).get_db_prep_value(value, self.connection)

    def column(self, name: str) -> str:
        """Return the column of one of the log's fields, quoted."""
        return str(self.connection.ops.quote_name(field_of(name).column))

    def columns(self, payload: str = "payload", position: str = "position", when: str = "") -> str:
        """Return what to select for entries(): all of it is null where `when` is false."""
        return ", ".join(self._columns(payload, position, when))

    def columns_to(self, payload: str) -> str:
        """Return what to select for entries_to(): as columns(), without the address."""
        position, _, _, _, *others = self._columns(payload)
        return ", ".join([position, *others])

    def _columns(self, payload: str, position: str = "position", when: str = "") -> list[str]:
        names = [self.column(name) for name in ENTRY_FIELDS]
        names[0], names[PAYLOAD] = position, payload
        for index in (CREATED_AT, _EXPIRES_AT):
            names[index] = self.stamp(names[index])
        # Null for most: it takes no time to parse.
        names[_EXPIRES_AT] = f"CASE WHEN perishable THEN {names[_EXPIRES_AT]} END"
        if when:
            names = [f"CASE WHEN {when} THEN {name} END" for name in names]
        return names

    def entries(self, rows: Iterable[Sequence[Any]]) -> list[Entry]:
        """Return the entries of rows with columns(), as the driver gave them."""
        make: Callable[..., Entry] = Entry  # mypy takes a row for any number of arguments
        time_of, owner_of, found = time_converter(self.connection.alias), None, []
        for row in rows:
            if row[_OWNER] is None and row[_EXPIRES_AT] is None:
                found.append(make(*row, time_of))
                continue
            values = [*row, time_of]
            if values[_OWNER] is not None:
                owner_of = owner_of or self.converter("owner")
                values[_OWNER] = owner_of(values[_OWNER])
            if values[_EXPIRES_AT] is not None:
                values[_EXPIRES_AT] = time_of(values[_EXPIRES_AT]).timestamp()
            found.append(make(*values))
        return found

    def entries_to(self, to: Addressed, rows: Iterable[Sequence[Any]]) -> list[Entry]:
        """
        Return the entries of rows with columns_to(), which have one address.

        To select the same keys in each row took a sixth of the time of a page's query.
        """
        channel, listener, owner = to.channel, to.listener, to.owner
        time_of, found = time_converter(self.connection.alias), []
        for position, type, payload, sender, uid, created_at, expires_at in rows:
            ends = None if expires_at is None else time_of(expires_at).timestamp()
            values = position, channel, listener, owner, type, payload, sender, uid
            found.append(Entry(*values, created_at, ends, time_of))
        return found

    def type_of(self, column: str) -> str:
        """Return the type of one of the log's columns."""
        return str(field_of(column).db_type(self.connection))

    def converter(self, column: str) -> Callable[[Any], Any]:
        """Return a function from the driver's value of a column to Python's."""
        found = field_of(column).get_col(QueuedMessage._meta.db_table)
        steps = [
            *self.connection.ops.get_db_converters(found),
            *found.get_db_converters(self.connection),
        ]

        def convert(value: Any) -> Any:
            for step in steps:
                value = step(value, found, self.connection)
            return value

        return convert

    @cached_property
    def to_datetime(self) -> Callable[[Any], Any]:
        """A function from the driver's value of a time to a datetime."""
        return self.converter("created_at")

    def order(self, direction: str = "ASC") -> str:
        """Return the ORDER BY of messages with one address: their index gives it."""
        return "ORDER BY " + ", ".join(f"{name} {direction}" for name in self.address_order)

    def union_all(
        self, branches: Sequence[str], params: Sequence[Sequence[Any]] = ()
    ) -> list[Any]:
        """
        Return the rows of all the SELECTs, in no order: one query for each MAX_BRANCHES.

        `params` has a sequence for each branch, or is empty. What a branch counts or looks up
        is a constant in it: MariaDB's derived tables see no column of an outer query.
        """
        rows: list[Any] = []
        with self.connection.cursor() as cursor:
            for first in range(0, len(branches), MAX_BRANCHES):
                part = slice(first, first + MAX_BRANCHES)
                values = [value for given in params[part] for value in given]
                cursor.execute(" UNION ALL ".join(branches[part]), values)
                rows += cursor.fetchall()
        return rows

    def impatient(self, seconds: float) -> AbstractContextManager[None]:
        """
        Return a transaction whose statements wait for locks no longer than `seconds`.

        They then raise OperationalError. SQLite has its `timeout` from the settings.
        """
        transactions: AbstractContextManager[None] = transaction.atomic(self.connection.alias)
        return transactions

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Begin a transaction that writes nothing, and whose queries see one state."""
        with transaction.atomic(self.connection.alias):
            with self.connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def skip_first_result(self, cursor: Any) -> None:
        """Move on to the second result of two statements that were one call."""

    def identity(self) -> str:
        """Return what differs in a copy or a replica of the database; "" for nothing known."""
        return ""

    def is_partitioned(self) -> bool:
        """Return whether the log's table is in partitions. One query where that can be."""
        return False

    def inode(self) -> int | None:
        """Return the number of the database's file; None where it has none."""
        return None

    @property
    def is_in_memory(self) -> bool:
        """Whether other threads have another database, or do not wait for locks in this one."""
        return False

    def files(self) -> tuple[str, ...]:
        """Return the files that a commit changes: none for a server's."""
        return ()

    def place(self) -> tuple[str, ...]:
        """Return where the settings have the database: it differs for a copy of it."""
        settings = self.connection.settings_dict
        parts = settings["HOST"], settings["PORT"], settings["NAME"]
        return self.connection.vendor, *map(str, parts)

    def missing_timeouts(self, options: Mapping[str, Any]) -> list[str]:
        """Return the names of the timeouts that the connection's options do not set."""
        return [name for name in self.timeouts if not options.get(name)]

    def is_serialization_failure(self, error: Exception) -> bool:
        """Return whether a statement failed because of a concurrent one, and had no effect."""
        return False

    def isolation_level(self, options: Mapping[str, Any]) -> str | None:
        """Return the level that the connection's options ask for; None for Django's own."""
        return None

    def reads_late(self) -> bool:
        """Whether a read may not see what another node of a cluster has committed. One query."""
        return False


class SQLite(Dialect):
    """SQLite: a file, and one transaction at a time that writes."""

    is_file = True
    greatest = "MAX"
    clock_ms = "CAST((JULIANDAY('now') - 2440587.5) * 86400000 AS INTEGER)"
    size = "LENGTH(payload)"  # characters: before 3.43 it has no OCTET_LENGTH()

    def stamp(self, column: str) -> str:
        """Return it as text: to parse a bare column took a fifth of the time of a page's query."""
        return f"+{column}"

    def is_in_transaction(self) -> bool:
        return super().is_in_transaction() or bool(self.connection.connection.in_transaction)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        # Not atomic(): with transaction_mode=IMMEDIATE it takes the lock for writing.
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")

    def identity(self) -> str:
        """Return the number of the file."""
        inode = self.inode()
        return "" if inode is None else str(inode)

    def inode(self) -> int | None:
        try:
            return os.stat(str(self.connection.settings_dict["NAME"])).st_ino
        except (OSError, ValueError):
            return None

    @property
    def places(self) -> bool:  # type: ignore[override]
        return self.returns_updates and not self.is_in_memory

    @property
    def returns_updates(self) -> bool:  # type: ignore[override]
        return bool(self.connection.features.can_return_columns_from_insert)  # from 3.35 on

    @property
    def is_in_memory(self) -> bool:
        return bool(self.connection.is_in_memory_db())

    def files(self) -> tuple[str, ...]:
        """Return its log and itself. The log is beside the file, wherever a link to that is."""
        name = self._file()
        return f"{name}-wal", name

    def place(self) -> tuple[str, ...]:
        return self.connection.vendor, self._file()

    def _file(self) -> str:
        return os.path.realpath(str(self.connection.settings_dict["NAME"]))


def array_text(values: Iterable[Any]) -> str:
    """
    Return values as the text of an array of PostgreSQL's.

    psycopg's own dumper was a third of the CPU of a process that writes 10,000 tokens a second.
    Columns of numbers, of texts, and those with one value, take a few calls for all elements.
    """
    found = list(values)
    kinds = set(map(type, found))
    if kinds == {int}:
        return "{" + str(found)[1:-1] + "}"
    if kinds == {str} and (whole := _NUL.join(found)).count(_NUL) == len(found) - 1:
        return '{"' + _escaped(whole).replace(_NUL, '","') + '"}'
    if found and found.count(found[0]) == len(found):
        return "{" + ",".join([_element(found[0])] * len(found)) + "}"
    return "{" + ",".join([_element(value) for value in found]) + "}"


# In no text of PostgreSQL's.
_NUL = "\0"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return str(value)
    return f'"{_escaped(str(value))}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@lru_cache
def is_psycopg3() -> bool:
    """Return whether Django's driver of PostgreSQL is psycopg, not psycopg2."""
    return bool(import_string("django.db.backends.postgresql.psycopg_any.is_psycopg3"))


class PostgreSQL(Dialect):
    """PostgreSQL."""

    one_call = True
    joins_head = True
    arrays = True
    joins_values = True
    partitions = True
    places = True
    writes_in_with = True
    returns_updates = True
    json_value = "(%s)::jsonb"
    clock_ms = "CAST(EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000 AS BIGINT)"
    # In the index's order, which EXISTS() ignores where no OFFSET is: if its statistics are of a
    # time when 3 % waited, it read all of 1,000,000 rows for each look, in 150 ms.
    any_pending = "ORDER BY position, id LIMIT 1 OFFSET 0"
    timeouts = ("connect_timeout", "keepalives_idle", "tcp_user_timeout")

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        # The driver's connection, and a cursor of it.
        self._writer: tuple[Any, Any] = None, None

    def is_in_transaction(self) -> bool:
        if super().is_in_transaction():
            return True
        # Of both drivers: 0 is idle.
        return bool(self.connection.connection.info.transaction_status)

    def writer(self) -> AbstractContextManager[Any]:
        """
        Return a cursor as Django does, mostly that of the last call.

        A new one took 10 of the 44 µs of CPU that a publish takes: psycopg finds for each how to
        send each type. All that connection.cursor() checks is checked.
        """
        connection = self.connection
        connection.close_if_health_check_failed()
        connection.ensure_connection()
        # Logged queries have another class of cursors; a toolbar or a test replaces cursor().
        own = getattr(connection.cursor, "__func__", None) is type(connection).cursor
        if connection.queries_logged or not own:
            return super().writer()
        connection.validate_thread_sharing()
        of, kept = self._writer
        if of is not connection.connection:
            kept = connection.cursor()
            self._writer = connection.connection, kept
        return nullcontext(kept)

    def stamp(self, column: str) -> str:
        """Return it as a number: psycopg takes 4 µs to make a datetime."""
        return f"EXTRACT(EPOCH FROM {column})::float8"

    def skip_first_result(self, cursor: Any) -> None:
        # psycopg begins with the first result, psycopg2 has the last alone.
        if is_psycopg3():
            cursor.nextset()

    @contextmanager
    def impatient(self, seconds: float) -> Iterator[None]:
        with super().impatient(seconds):
            # LOCAL: also behind a pooler it ends with the transaction.
            with self.connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{seconds}s'")
            yield

    def identity(self) -> str:
        """Return the system's identifier, its timeline, and numbers of database and table."""
        with self.connection.cursor() as cursor:
            cursor.execute(_POSTGRESQL_IDENTITY, [self.heads])
            system, segment, number, table_number = cursor.fetchone()
        return f"{system}/{segment[:8]}/{number}/{table_number}"

    def is_partitioned(self) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM pg_class WHERE oid = to_regclass(%s) AND relkind = 'p'", [self.log]
            )
            return cursor.fetchone() is not None

    def is_serialization_failure(self, error: Exception) -> bool:
        cause = error.__cause__
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        return bool(code == "40001")

    def missing_timeouts(self, options: Mapping[str, Any]) -> list[str]:
        missing = super().missing_timeouts(options)
        if "statement_timeout" not in str(options.get("options")):
            missing.append("options (statement_timeout)")
        return missing

    def isolation_level(self, options: Mapping[str, Any]) -> str | None:
        if not (level := options.get("isolation_level")):
            return None
        levels = import_string("django.db.backends.postgresql.psycopg_any.IsolationLevel")
        name: str = levels(level).name.replace("_", " ")  # the numbers are the driver's
        return "READ COMMITTED" if name == "READ UNCOMMITTED" else name  # one and the same there


class MySQL(Dialect):
    """MariaDB and MySQL."""

    correlated_ranges = False
    stale_snapshot = True
    # It treats a column that IS NULL as a constant, and sorts when ORDER BY names it: to find the
    # next of 7,500 waiting messages, it read and sorted all of them in 2.7 ms; this takes 1.1 ms.
    # PostgreSQL sorts when ORDER BY does not name it.
    address_order = ("position",)
    pending_order = ("id",)
    clock_ms = "UNIX_TIMESTAMP() * 1000"  # of no time zone: NOW() is ambiguous for an hour a year
    exact = "BINARY "  # its usual collations find "orders" by "ORDERS"
    timeouts = ("connect_timeout", "read_timeout", "write_timeout")

    @property
    def insert_select_locks(self) -> bool:  # type: ignore[override]
        """Whether it does, at the connection's isolation level."""
        return bool(self.connection.isolation_level != "read committed")

    @contextmanager
    def impatient(self, seconds: float) -> Iterator[None]:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            (before,) = cursor.fetchone()
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {int(seconds)}")
        try:
            with super().impatient(seconds):
                yield
        finally:
            with suppress(DatabaseError), self.connection.cursor() as cursor:
                cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {int(before)}")

    def identity(self) -> str:
        """Return the cluster's name, or the server's and when the head's table was created."""
        with self.connection.cursor() as cursor:
            cursor.execute(_MYSQL_CLUSTER)
            cluster = dict(cursor.fetchall()).get("wsrep_cluster_state_uuid")
            cursor.execute(_MYSQL_VARIABLES)
            values = dict(cursor.fetchall())
            cluster = cluster or values.get("group_replication_group_name")
            if cluster:
                return str(cluster)
            cursor.execute(_MYSQL_TABLE, [LogHead._meta.db_table])
            (created_at,) = cursor.fetchone()
        return f"{values.get('server_uuid') or values['server_id']}/{int(created_at or 0)}"

    def isolation_level(self, options: Mapping[str, Any]) -> str | None:
        if "isolation_level" not in options:
            return None
        # Without one it is the server's, and servers come with this.
        return str(options["isolation_level"] or "REPEATABLE READ").upper()

    def reads_late(self) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute(_MYSQL_WSREP)
            values = dict(cursor.fetchall())
        waits_for = int(values.get("wsrep_sync_wait") or 0)
        return str(values.get("wsrep_on")).upper() in ("ON", "1") and not waits_for & 1


# By Django's name of the vendor.
DIALECTS: dict[str, type[Dialect]] = {
    "sqlite": SQLite,
    "postgresql": PostgreSQL,
    "mysql": MySQL,
}


def kind_of(connection: Any) -> type[Dialect]:
    """Return the class of a connection's dialect."""
    return DIALECTS.get(connection.vendor, Dialect)


def dialect_of(connection: Any) -> Dialect:
    """Return the dialect of a connection: one object for each."""
    known: Dialect | None = connection.__dict__.get("_eric_sse_dialect")
    if known is None:
        known = kind_of(connection)(connection)
        connection._eric_sse_dialect = known
    return known


@lru_cache
def is_partitioned(using: str) -> bool:
    """Return whether the log's table is in partitions: as the process has first found it."""
    return dialect_of(connections[using]).is_partitioned()


def log_dialect() -> Dialect:
    """Return the dialect of this thread's connection to the log's database."""
    connection: Any = connections[database()]
    known: Dialect | None = connection.__dict__.get("_eric_sse_dialect")
    return dialect_of(connection) if known is None else known


@lru_cache
def time_converter(using: str) -> Callable[[Any], Any]:
    """Return a function from a database's value of a time to a datetime, for any thread."""
    return partial(_time_of, using)


def _time_of(using: str, value: Any) -> Any:
    """Return the datetime of a column's value, or of a time.time(); on any thread."""
    if not isinstance(value, float):
        return _converter(using, settings.USE_TZ, settings.TIME_ZONE)(value)
    return moment_of(value)


@lru_cache
def _converter(using: str, use_tz: bool, time_zone: str) -> Callable[[Any], Any]:
    """
    Return a function from a database's value of a time to a datetime, for the settings' zones.

    Built once: on a loop, each callback would make a connection object for it, in 100 µs.
    """
    return dialect_of(connections[using]).converter("created_at")


def moment_of(seconds: float) -> datetime:
    """Return the datetime of a time.time(), as the project has them."""
    return datetime.fromtimestamp(seconds, zones.utc if settings.USE_TZ else None)


def field_of(column: str) -> Any:
    """Return the model's field of one of the log's columns."""
    return QueuedMessage._meta.get_field(column)
