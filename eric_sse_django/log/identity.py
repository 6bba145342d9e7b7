"""Which database this is, as far as one can tell its copies apart."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections, transaction

from eric_sse_django.log.dialect import dialect_of
from eric_sse_django.models import database

logger = logging.getLogger(__name__)


def identity(using: str) -> str:
    """
    Return what differs once a copy, a replica or a backup stands in for the database.

    "" where nothing tells: in memory, or where the role may not ask. Up to three queries.
    """
    connection = connections[using]
    # What is refused would break the caller's transaction.
    apart = transaction.atomic(using=using) if connection.in_atomic_block else nullcontext()
    try:
        with apart:
            return dialect_of(connection).identity()
    except (DatabaseError, OSError):
        logger.debug("the database does not say which one it is", exc_info=True)
        return ""


def connected() -> Any:
    """
    Return this thread's connection to the log, made again where its SQLite file was replaced.

    What reads it would go on with what was removed, or moved away. Not while there is none:
    SQLite would make an empty one, in the way of who is about to put it there.
    """
    connection: Any = connections[database()]
    dialect = dialect_of(connection)
    if not dialect.is_file:
        return connection
    inode = dialect.inode()  # before it connects: too old is noticed, too new is not
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
