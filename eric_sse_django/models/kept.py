"""Columns that the log writes, in rows that a project and the admin write too."""

from __future__ import annotations

from typing import Any

from django.db import models


class Kept(models.Model):
    """
    Base of rows of which a save() leaves out what the log keeps in them.

    An object has that as it was when it was read. A save() of it an hour later would put it
    back: a floor that goes down hides a loss, and a cursor repeats what was served. One that
    is meant is named: save(update_fields=["cursor"]).
    """

    KEPT: frozenset[str] = frozenset()

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        is_new = self._state.adding or options.get("force_insert")
        if options.get("update_fields") is None and not is_new:
            out = self.KEPT | self.get_deferred_fields()
            fields = (field for field in self._meta.concrete_fields if not field.primary_key)
            options["update_fields"] = [each.name for each in fields if each.attname not in out]
        super().save(*args, **options)
