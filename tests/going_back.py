"""A database that goes back to what it was: as by a backup that is restored."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import connections, transaction


class Backup:
    """All rows of the app and of users as they are now, and the next numbers of their keys."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        models = [*apps.get_app_config("eric_sse_django").get_models()]
        models += [*apps.get_app_config("auth").get_models(include_auto_created=True)]
        self._tables = [model._meta.db_table for model in models]
        self._rows = {table: self._read(table) for table in self._tables}
        self._numbers = {table: self._next_number(table) for table in self._tables}

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

    def _next_number(self, table: str) -> Any:
        vendor = self._connection.vendor
        if vendor == "sqlite":
            found = self._ask("SELECT seq FROM sqlite_sequence WHERE name = %s", table)
            return found[0][0] if found else 0
        if vendor == "mysql":
            # Not information_schema, whose statistics are old.
            text = self._ask(f"SHOW CREATE TABLE {table}")[0][1]
            _, _, number = text.partition("AUTO_INCREMENT=")
            return int(number.split()[0]) if number else 1
        sequence = self._sequence(table)
        return sequence and self._ask(f"SELECT last_value, is_called FROM {sequence}")[0]

    def _sequence(self, table: str) -> str | None:
        column = "id" if "id" in self._rows[table][0] else None
        return column and self._ask("SELECT pg_get_serial_sequence(%s, %s)", table, column)[0][0]

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
        for table, number in self._numbers.items():
            self._set_number(table, number)

    def _set_number(self, table: str, number: Any) -> None:
        vendor = self._connection.vendor
        if vendor == "sqlite":
            self._ask("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", number, table)
        elif vendor == "mysql":
            self._ask(f"ALTER TABLE {table} AUTO_INCREMENT = {number}")
        elif (sequence := self._sequence(table)) is not None:
            self._ask("SELECT setval(%s, %s, %s)", sequence, *number)
