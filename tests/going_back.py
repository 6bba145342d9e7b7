"""A database that goes back to what it was: as by a backup that is restored."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, transaction

_sequences: dict[str, list[str]] = {}  # of PostgreSQL databases


class Backup:
    """All rows of the app and of users as they are now, and the next numbers of their keys."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        models = [*apps.get_app_config("eric_sse_django").get_models(), get_user_model()]
        self._tables = [model._meta.db_table for model in models]
        self._rows = {table: self._read(table) for table in self._tables}
        self._numbers = self._next_numbers()

    @property
    def _connection(self) -> Any:
        return connections[self._alias]

    def _ask(self, sql: str, *params: Any) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall()) if cursor.description else []

    def _read(self, table: str) -> tuple[list[str], list[Any]]:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            return [column[0] for column in cursor.description], list(cursor.fetchall())

    def _next_numbers(self) -> dict[str, Any]:
        """Return the next key of each table; on PostgreSQL of each sequence."""
        vendor = self._connection.vendor
        if vendor == "sqlite":
            known = dict(self._ask("SELECT name, seq FROM sqlite_sequence"))
            return {table: known.get(table, 0) for table in self._tables}
        if vendor == "mysql":
            # Not information_schema, whose statistics are old.
            made = {t: self._ask(f"SHOW CREATE TABLE {t}")[0][1] for t in self._tables}
            numbers = {t: text.partition("AUTO_INCREMENT=")[2] for t, text in made.items()}
            return {table: int((text or "1").split()[0]) for table, text in numbers.items()}
        if self._alias not in _sequences:
            names = ", ".join(
                f"pg_get_serial_sequence('{table}', 'id')"
                for table, (columns, _) in self._rows.items()
                if "id" in columns
            )
            _sequences[self._alias] = list(filter(None, self._ask(f"SELECT {names}")[0]))
        each = " UNION ALL ".join(
            f"SELECT '{name}', last_value, is_called FROM {name}"
            for name in _sequences[self._alias]
        )
        return {name: state for name, *state in self._ask(each)}

    def restore(self) -> None:
        """Put all back, also which keys are given next."""
        with transaction.atomic(using=self._alias), self._connection.constraint_checks_disabled():
            for table in reversed(self._tables):
                self._ask(f"DELETE FROM {table}")
            for table, (columns, rows) in self._rows.items():
                names = ", ".join(map(self._connection.ops.quote_name, columns))
                places = ", ".join(["%s"] * len(columns))
                with self._connection.cursor() as cursor:
                    for row in rows:
                        cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)
        self._set_numbers()

    def _set_numbers(self) -> None:
        vendor = self._connection.vendor
        if vendor == "postgresql":
            calls = [
                f"setval('{name}', {last}, {called})"
                for name, (last, called) in self._numbers.items()
            ]
            self._ask(f"SELECT {', '.join(calls)}")
            return
        for table, number in self._numbers.items():
            if vendor == "sqlite":
                self._ask("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", number, table)
            else:
                self._ask(f"ALTER TABLE {table} AUTO_INCREMENT = {number}")
