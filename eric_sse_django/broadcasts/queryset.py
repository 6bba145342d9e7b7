"""The querysets of models that publish: their bulk operations are published too."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from django.db import connections, models

from eric_sse_django.broadcasts.batch import MAX_ROWS, Batch, before, changing, locked
from eric_sse_django.broadcasts.registry import all_are_static, broadcasts_of


class BroadcastQuerySet(models.QuerySet[Any]):
    """Publishes update(), delete(), bulk_create() and bulk_update()."""

    def update(self, **values: Any) -> int:
        """As QuerySet.update(), of the rows that match at its beginning."""
        self._for_write = True
        # Django refuses a slice; and its own error is the right one.
        if self.query.is_sliced or not broadcasts_of(self.model):
            return super().update(**values)
        with changing(self.db) as batch:
            keys = None if _changes_the_key(self.model, values) else _keys(self)
            if keys is None:
                batch.note_all(self.model)
                return super().update(**values)
            _note(batch, self.model, self.db, keys)
            rows = self
            if connections[self.db].features.has_select_for_update:
                # Of no other rows: which may match since the keys were read.
                rows = self.filter(pk__in=keys)
            return super(BroadcastQuerySet, rows).update(**values)

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """As QuerySet.delete(), with one INSERT for the messages of all rows."""
        self._for_write = True
        with changing(self.db) as batch:
            # Django refuses a slice; and its own error is the right one.
            if not self.query.is_sliced and not all_are_static(self.model):
                batch.read_before(self.model, _keys(self) or [])
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_update(self, *args: Any, **options: Any) -> int:
        """As QuerySet.bulk_update(), which calls update(); with one INSERT for all messages."""
        self._for_write = True
        with changing(self.db):
            return super().bulk_update(*args, **options)

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        """As QuerySet.bulk_create()."""
        self._for_write = True
        if not broadcasts_of(self.model):
            return super().bulk_create(objs, *args, **options)
        with changing(self.db) as batch:
            asked = options.get("ignore_conflicts") or options.get("update_conflicts")
            if asked or any(args[1:]):  # then nobody knows which of the rows are new
                batch.note_all(self.model)
                return super().bulk_create(objs, *args, **options)
            found = super().bulk_create(objs, *args, **options)
            keys = [each.pk for each in found]
            if None in keys:  # a database that does not return them
                batch.note_all(self.model)
                return found
            for key in keys:
                batch.note(self.model, key, is_new=True)
            return found

    def __reduce__(self) -> Any:
        """Pickle it by the project's class: this one is made at run time."""
        return _unpickled, (_original(type(self)),), self.__getstate__()


def _keys(queryset: Any) -> list[Any] | None:
    """Return the keys of the rows that a queryset matches, None if they are too many."""
    most = MAX_ROWS if all_are_static(queryset.model) else None
    found = queryset.order_by().values_list("pk", flat=True)
    keys = list(dict.fromkeys(found if most is None else found[: most + 1]))
    return None if most is not None and len(keys) > most else keys


def _note(batch: Batch, model: Any, using: str, keys: list[Any]) -> None:
    if all_are_static(model):
        locked(model._meta.concrete_model, using, keys)
    known = {} if all_are_static(model) else before(model, using, keys)
    for key in keys:
        batch.note(model, key, before=known.get(key))


def _changes_the_key(model: Any, values: Iterable[str]) -> bool:
    return bool({"pk", model._meta.pk.name, model._meta.pk.attname} & set(values))


# Classes ------------------------------------------------------------------------------


@cache
def publishing(queryset_class: Any) -> Any:
    """Return a class of querysets that also publishes; the same one for the same class."""
    if issubclass(queryset_class, BroadcastQuerySet):
        return queryset_class
    names = {"__module__": queryset_class.__module__, "__qualname__": queryset_class.__qualname__}
    return type(queryset_class.__name__, (BroadcastQuerySet, queryset_class), names)


def _original(made: Any) -> Any:
    return made.__mro__[2] if made.__bases__[0] is BroadcastQuerySet else made


def _unpickled(queryset_class: Any) -> Any:
    made = publishing(queryset_class)
    return made.__new__(made)


class BroadcastManager:
    """Part of the class of a publishing model's managers: their querysets publish."""

    def get_queryset(self) -> Any:
        found = super().get_queryset()  # type: ignore[misc]
        kind: Any = type(found)
        found.__class__ = publishing(kind)
        return found


@cache
def managing(manager_class: Any) -> Any:
    """Return a class of managers whose querysets publish. Migrations name the original."""
    if issubclass(manager_class, BroadcastManager):
        return manager_class
    names = {"__module__": manager_class.__module__, "__qualname__": manager_class.__qualname__}
    return type(manager_class.__name__, (BroadcastManager, manager_class), names)
