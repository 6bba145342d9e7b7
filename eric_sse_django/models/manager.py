"""The database that holds the app's tables, and the manager whose queries use it."""

from __future__ import annotations

from typing import Any, TypeVar

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, models, router

M = TypeVar("M", bound=models.Model)
Set = TypeVar("Set")
Get = TypeVar("Get")


def database() -> str:
    """Return the alias of the database that holds the log, as the project's routers give it."""
    if not router.routers:  # asked some ten times a message: 4 µs each in the router
        return DEFAULT_DB_ALIAS
    return router.db_for_write(apps.get_model("eric_sse_django", "QueuedMessage"))


class LogQuerySet(models.QuerySet[M]):
    """Reads and writes in the log's database. Routers do not choose: a replica may be late."""

    @property
    def db(self) -> str:
        """The alias that using() named, else the log's."""
        named: str | None = self._db  # type: ignore[attr-defined]
        return named or database()


class LogManager(models.Manager[M]):
    """The default and base manager of all models: also for related rows and refreshing."""

    _queryset_class = LogQuerySet


class LogKey(models.ForeignKey[Set, Get]):
    """A foreign key between tables of the app: forms look for the row in the log's database."""

    def deconstruct(self) -> Any:
        """Return a plain foreign key: migrations need no more."""
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, options

    def validate(self, value: Any, model_instance: Any) -> None:
        """As ForeignKey.validate(), which queries the database that routers give for reading."""
        models.Field.validate(self, value, model_instance)
        rows = self.related_model._base_manager.filter(pk=value)
        if value is not None and not rows.exists():
            raise ValidationError(self.error_messages["invalid"], "invalid", {"value": value})
