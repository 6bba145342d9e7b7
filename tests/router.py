"""The database router of the test site: every model lives where the running test says."""

from typing import Any


class SelectedDatabaseRouter:
    """
    Send every read and write to one alias, `SelectedDatabaseRouter.alias`.

    The `database` fixture sets it before a test and puts "default" back after it. It is one
    value for the process, so a background thread follows the test it works for.
    """

    alias = "default"

    def db_for_read(self, model: type, **hints: Any) -> str:
        return self.alias

    def db_for_write(self, model: type, **hints: Any) -> str:
        return self.alias

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True
