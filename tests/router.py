"""The database routers of the test site: every model is in the database of the running test."""

from typing import Any


def is_ours(app_label: str) -> bool:
    return app_label.startswith("eric_sse_")


class SelectedDatabaseRouter:
    """
    Send every write to one alias, `SelectedDatabaseRouter.alias`, and reads of others' models.

    The app's reads are sent to a replica that answers none of them: it must ask the log's
    database for all. The `database` fixture sets the alias before a test and puts "default" back
    after it. It is one value for the process, so a background thread follows the test it works
    for.
    """

    alias = "default"

    def db_for_read(self, model: type[Any], **hints: Any) -> str:
        return "replica" if is_ours(model._meta.app_label) else self.alias

    def db_for_write(self, model: type[Any], **hints: Any) -> str:
        return self.alias

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        return True


class UsersElsewhereRouter(SelectedDatabaseRouter):
    """Keep the app's tables in the alias of the test, and all others in "users"."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str:
        return "replica" if is_ours(model._meta.app_label) else "users"

    def db_for_write(self, model: type[Any], **hints: Any) -> str:
        return self.alias if is_ours(model._meta.app_label) else "users"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        return None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "users") != is_ours(app_label)
