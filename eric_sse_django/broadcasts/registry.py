"""Which models publish their changes."""

from __future__ import annotations

from typing import Any

from eric_sse_django.broadcasts.declaration import Broadcast

_watched: dict[Any, list[Broadcast]] = {}


def add(model: Any, broadcast: Broadcast) -> bool:
    """Record a declaration; return whether it is the first of its model."""
    is_first = model not in _watched
    _watched.setdefault(model, []).append(broadcast)
    return is_first


def broadcasts_of(model: Any) -> list[Broadcast]:
    """Return the declarations of a model, or of the one that it is a proxy of."""
    return _watched.get(model._meta.concrete_model, [])


def is_watched(model: Any) -> bool:
    """Return whether exactly this class has declarations."""
    return model in _watched


def all_are_static(model: Any) -> bool:
    """Return whether the recipients are the same for all rows of a model."""
    return all(each.is_static for each in broadcasts_of(model))
