"""What the models share: ids, the log's database and manager, how rows are saved and deleted."""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from eric_sse_django.conf import database

M = TypeVar("M", bound=models.Model)
Set = TypeVar("Set")
Get = TypeVar("Get")

# An id is one segment of a URL's path, without escapes: so no "/", and not "." or "..", which
# browsers resolve.
IDENTIFIER = r"^(?!\.{1,2}$)[A-Za-z0-9_.:@~+-]{1,128}\Z"
IDENTIFIER_WORDS = _(
    "Use 1 to 128 of the characters A-Z a-z 0-9 _ . : @ ~ + - (and not just one or two dots)."
)
IDENTIFIER_MAX_LENGTH = 128

is_identifier = RegexValidator(IDENTIFIER, IDENTIFIER_WORDS)


def could_be_id(identifier: Any) -> bool:
    """Return whether it may be an id. PostgreSQL refuses queries with a NUL."""
    try:
        is_identifier(identifier)
    except ValidationError:
        return False
    return isinstance(identifier, str)


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


class LogColumnsModel(models.Model):
    """
    Base of models with columns that only the log writes: save() does not write them.

    An object has their values as they were read. A save() an hour later would write those back:
    a lower floor hides a loss, a lower cursor repeats messages. To write one, name it:
    save(update_fields=["cursor"]).
    """

    LOG_COLUMNS: frozenset[str] = frozenset()

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        is_new = self._state.adding or options.get("force_insert")
        if options.get("update_fields") is None and not is_new:
            out = self.LOG_COLUMNS | self.get_deferred_fields()
            fields = (field for field in self._meta.concrete_fields if not field.primary_key)
            options["update_fields"] = [each.name for each in fields if each.attname not in out]
        super().save(*args, **options)


# The attribute of a delete()'s origin with what is deleted together.
_NOTES = "_eric_sse_deleted"


def note_deletion(instance: Any, origin: Any) -> None:
    """
    Record a row that is deleted with `origin`, both as pre_delete sends them.

    Django sends pre_delete for all rows of a queryset or cascade, and only then post_delete for
    each.
    """
    if origin is not None:
        notes = origin.__dict__.setdefault(_NOTES, {})
        notes.setdefault(type(instance), {})[instance.pk] = instance


def deleted_with(instance: Any, origin: Any) -> list[Any]:
    """Return, at the first post_delete, all deleted rows of its model; at the others []."""
    notes = {} if origin is None else origin.__dict__.get(_NOTES, {})
    if type(instance) not in notes:
        return [instance]
    together = notes[type(instance)]
    found = list(together.values()) if instance.pk in together else []
    together.clear()
    return found
