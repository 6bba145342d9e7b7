"""Which database this is, as far as one can tell its copies apart."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections, transaction

from eric_sse_django.models import LogHead, database

logger = logging.getLogger(__name__)

# The system identifier is made by initdb; a promoted replica and a restore to a point in time
# begin a timeline; a database that was made anew, and a table that a dump has made anew, have
# another number. Any role may ask, it takes 0.5 ms.
_POSTGRESQL = """
    SELECT system_identifier, pg_walfile_name(pg_current_wal_lsn()),
        (SELECT oid FROM pg_database WHERE datname = current_database()), %s::regclass::oid
    FROM pg_control_system()
"""
# Servers that replicate each other need numbers of their own; those of a cluster share its name.
_MYSQL_VARIABLES = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN "
    "('server_uuid', 'server_id', 'group_replication_group_name')"
)
_MYSQL_CLUSTER = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'"
_MYSQL_TABLE = (
    "SELECT UNIX_TIMESTAMP(create_time) FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_name = %s"
)


def identity(using: str) -> str:
    """
    Return what differs once a copy, a replica or a backup stands in for the database.

    "" where nothing tells: in memory, or where the role may not ask. Up to three queries.
    """
    ask = {"postgresql": _of_postgresql, "mysql": _of_mysql, "sqlite": _of_sqlite}
    connection = connections[using]
    # What is refused would break the caller's transaction.
    apart = transaction.atomic(using=using) if connection.in_atomic_block else nullcontext()
    try:
        with apart:
            return ask.get(connection.vendor, _of_none)(using)
    except (DatabaseError, OSError):
        logger.debug("the database does not say which one it is", exc_info=True)
        return ""


def _of_postgresql(using: str) -> str:
    table = connections[using].ops.quote_name(LogHead._meta.db_table)
    with connections[using].cursor() as cursor:
        cursor.execute(_POSTGRESQL, [table])
        system, segment, number, table_number = cursor.fetchone()
    return f"{system}/{segment[:8]}/{number}/{table_number}"


def _of_mysql(using: str) -> str:
    with connections[using].cursor() as cursor:
        cursor.execute(_MYSQL_CLUSTER)
        cluster = dict(cursor.fetchall()).get("wsrep_cluster_state_uuid")
        cursor.execute(_MYSQL_VARIABLES)
        values = dict(cursor.fetchall())
        cluster = cluster or values.get("group_replication_group_name")
        if cluster:
            return str(cluster)
        cursor.execute(_MYSQL_TABLE, [LogHead._meta.db_table])
        (made_at,) = cursor.fetchone()
    return f"{values.get('server_uuid') or values['server_id']}/{int(made_at or 0)}"


def _of_sqlite(using: str) -> str:
    inode = inode_of(connections[using])
    return "" if inode is None else str(inode)


def _of_none(using: str) -> str:
    return ""


def inode_of(connection: Any) -> int | None:
    """Return the number of a SQLite database's file; None where it has none."""
    try:
        return os.stat(str(connection.settings_dict["NAME"])).st_ino
    except (OSError, ValueError):
        return None


def connected() -> Any:
    """
    Return this thread's connection to the log, made again where its SQLite file was replaced.

    What reads it would go on with what was removed, or moved away. Not while there is none:
    SQLite would make an empty one, in the way of who is about to put it there.
    """
    connection: Any = connections[database()]
    if connection.vendor != "sqlite":
        return connection
    inode = inode_of(connection)  # before it connects: too old is noticed, too new is not
    raw, opened = connection.__dict__.get("_eric_sse_inode", (None, None))
    if connection.connection is not None and raw is connection.connection:
        if inode in (None, opened) or connection.in_atomic_block:
            return connection
        connection.close()
    connection.ensure_connection()
    connection._eric_sse_inode = connection.connection, inode
    return connection


def is_new(connection: Any) -> bool:
    """Whether this is another connection than when this was last asked. Connects."""
    connection.ensure_connection()
    known = connection.__dict__.get("_eric_sse_known")
    connection._eric_sse_known = connection.connection
    return known is not connection.connection
