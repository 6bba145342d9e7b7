"""What makes a model publish: its managers, its save() and delete(), and Django's signals."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import models, router
from django.db.models.signals import class_prepared, post_delete, post_save, pre_delete, pre_save

from eric_sse_django.broadcasts import registry
from eric_sse_django.broadcasts.batch import before_of, changing
from eric_sse_django.broadcasts.declaration import Broadcast
from eric_sse_django.broadcasts.queryset import managing

M = TypeVar("M", bound=type[models.Model])

# The item of an object between pre_save or pre_delete, and the signal after it.
_BEFORE = "_eric_sse_before"
# The name of the manager by which Django changes related rows.
_BASE = "_eric_sse_base"
# The name that Django gives it where the model names none.
UNNAMED = "_base_manager"


class Broadcasts:
    """
    A base of models that publish: the attribute `broadcasts` is a Broadcast, or a list of them.

        class Order(Broadcasts, models.Model):
            broadcasts = Broadcast("orders", fields=["number", "total"])
    """

    broadcasts: Broadcast | Sequence[Broadcast] = ()


def broadcasts(channel: Any, **options: Any) -> Callable[[M], M]:
    """Return a decorator of a model that makes it publish; `options` are those of Broadcast."""
    declared = Broadcast(channel, **options)

    def declare(model: M) -> M:
        watch(model, declared)
        return model

    return declare


def publish_changed(*rows: models.Model, using: str | None = None) -> None:
    """
    Publish rows as they are in the database now: after raw SQL, or a change of related rows.

    A row that is not there any more is published as deleted. In the caller's transaction. Raises
    ValueError for a row without a key.
    """
    for row in rows:
        if not registry.broadcasts_of(type(row)):
            raise ImproperlyConfigured(f"{type(row).__name__} has no broadcasts.")
        if row.pk is None:
            raise ValueError(
                f"This {type(row).__name__} has no key, as after its delete(), which is published."
            )
    for alias in {using or _alias(row) for row in rows}:
        with changing(alias) as batch:
            for row in rows:
                if (using or _alias(row)) == alias:
                    batch.note(type(row), row.pk)


def _alias(row: models.Model) -> str:
    return row._state.db or router.db_for_write(type(row), instance=row)


# Declaring ----------------------------------------------------------------------------


def watch(model: Any, declared: Broadcast) -> None:
    """Make a model publish. Raises ImproperlyConfigured for one whose changes cannot be seen."""
    if model._meta.abstract or model._meta.proxy:
        raise ImproperlyConfigured(
            f"{model.__name__} has no table: declare broadcasts on the model that has it, or "
            "derive an abstract model from Broadcasts."
        )
    if any(parent is not model for parent in model._meta.parents):
        raise ImproperlyConfigured(
            f"{model.__name__} has its columns in several tables, and changes of its parent's "
            "cannot be seen: declare broadcasts on a model with one table."
        )
    if registry.add(model, declared):
        _prepare(model)


def _prepare(model: Any) -> None:
    _prepare_managers(model)
    for name in ("save_base", "delete"):
        if not model._meta.proxy:
            setattr(model, name, _in_one_operation(getattr(model, name)))
    pre_save.connect(_before_change, sender=model)
    post_save.connect(_on_saved, sender=model)
    pre_delete.connect(_before_change, sender=model)
    post_delete.connect(_on_deleted, sender=model)


def _prepare_managers(model: Any) -> None:
    """Replace the managers by copies whose querysets publish, also the one of Django itself."""
    options = model._meta
    default, base = options.default_manager, options.base_manager
    managers = [copy.copy(manager) for manager in options.managers]
    if type(default) is models.Manager and base.name == UNNAMED:
        base = default  # alike; one more manager would be in the model's migrations
    elif all(manager.name != base.name for manager in managers):
        base = copy.copy(base)
        base.name = _BASE
        managers.append(base)
    for manager in managers:
        kind: Any = type(manager)
        manager.__class__ = managing(kind)
    options.local_managers[:] = managers
    options.default_manager_name = default.name
    options.base_manager_name = base.name
    options._expire_cache()


def _in_one_operation(method: Any) -> Any:
    """Return a method of a model that changes and publishes in one transaction."""

    @wraps(method)
    def change(self: Any, *args: Any, **options: Any) -> Any:
        using = options.get("using") or router.db_for_write(type(self), instance=self)
        with changing(using):
            return method(self, *args, **options)

    if hasattr(method, "alters_data"):
        change.alters_data = method.alters_data  # type: ignore[attr-defined]
    return change


def _on_prepared(sender: Any, **_: Any) -> None:
    """Prepare a model as soon as Django has: with Broadcasts as a base, or a proxy of one."""
    options = sender._meta
    concrete = options.concrete_model
    if options.abstract or options.swapped:
        return
    if options.proxy:
        if registry.is_watched(concrete):
            _prepare(sender)
        return
    parents = [parent for parent in options.parents if parent is not sender]
    if any(map(registry.is_watched, parents)):
        raise ImproperlyConfigured(
            f"{sender.__name__} is derived from a model with broadcasts, which cannot see the "
            "changes that are made through it: derive both from an abstract model."
        )
    if issubclass(sender, Broadcasts):
        declared = sender.broadcasts
        for each in (declared,) if isinstance(declared, Broadcast) else declared:
            watch(sender, each)


class_prepared.connect(_on_prepared)


# Signals ------------------------------------------------------------------------------


def _before_change(sender: Any, instance: Any, using: str, **_: Any) -> None:
    """Find where the row is published, if that depends on the row."""
    instance.__dict__.pop(_BEFORE, None)
    if instance.pk is not None and not registry.all_are_static(sender):
        instance.__dict__[_BEFORE] = before_of(sender, using, instance.pk)


def _on_saved(sender: Any, instance: Any, created: bool, raw: bool, using: str, **_: Any) -> None:
    known = instance.__dict__.pop(_BEFORE, None)
    with changing(using) as batch:
        if raw and registry.all_are_static(sender):  # related rows may not be there yet
            batch.note_all(sender)
        elif not raw:
            batch.note(sender, instance.pk, is_new=created, before=known)


def _on_deleted(sender: Any, instance: Any, using: str, **_: Any) -> None:
    with changing(using) as batch:
        batch.note(sender, instance.pk, before=instance.__dict__.pop(_BEFORE, None))
