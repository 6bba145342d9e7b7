"""What one delete() removes together, for signals that are sent for each row."""

from __future__ import annotations

from typing import Any

# Where the origin of a delete() keeps what goes with it.
NOTES = "_eric_sse_deleted"


def note_deletion(instance: Any, origin: Any) -> None:
    """
    Note what is about to go with `origin`, both as pre_delete has them.

    Django sends pre_delete for all that a queryset or a cascade deletes, and only then
    post_delete for each.
    """
    if origin is not None:
        notes = origin.__dict__.setdefault(NOTES, {})
        notes.setdefault(type(instance), {})[instance.pk] = instance


def deleted_with(instance: Any, origin: Any) -> list[Any]:
    """Return, at the first post_delete, all of its model that went together; [] at the others."""
    notes = {} if origin is None else origin.__dict__.get(NOTES, {})
    if type(instance) not in notes:
        return [instance]
    together = notes[type(instance)]
    found = list(together.values()) if instance.pk in together else []
    together.clear()
    return found
