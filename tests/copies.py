"""Copies of a database under a second alias: another connection to it, or a stale copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def copy_of(of: str, name: str = "copy", **changes: Any) -> Iterator[str]:
    """Add an alias for the database of another, with changes of its settings; yields it."""
    copy = f"{name}_of_{of}"  # SQL text is kept for each alias
    ensured = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(connection: Any) -> None:
        """Connect also to the copy, which Django's tests do not allow: no mark names it."""
        if connection.alias == copy and connection.connection is None:
            with connection.wrap_database_errors:
                connection.connect()
        ensured(connection)

    connections.settings[copy] = {**connections[of].settings_dict, **changes}
    try:
        with patch.object(BaseDatabaseWrapper, "ensure_connection", ensure_connection):
            yield copy
    finally:
        if connections[copy].connection is not None:
            connections[copy].close()
        del connections[copy], connections.settings[copy]


def copy_sqlite(of: str, target: Path) -> None:
    """Write what a SQLite database has now to a file, over what that has."""
    source = str(connections[of].settings_dict["NAME"])
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
