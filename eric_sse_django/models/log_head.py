"""The head of the log."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.manager import LogManager


class LogHead(models.Model):
    """
    The one row whose lock gives the log its order. `position` is the last one given.

    The rest shows a hub whether this is still the history that it knows. `identity` is the
    database server's own, as far as it has one. `trimmed` is the highest position that was
    removed. `marked_at` is when the message at `marked`, mostly at `position`, was published.

    No foreign key points here: publishing must never touch it.
    """

    THE_ONE = 1

    position = models.BigIntegerField(default=0)
    # With defaults in the database: servers of the version before may make the row.
    identity = models.CharField(max_length=255, default="", db_default="")
    trimmed = models.BigIntegerField(default=0, db_default=0)
    marked = models.BigIntegerField(default=0, db_default=0)
    marked_at = models.DateTimeField(null=True)

    objects = LogManager["LogHead"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("head of the log")
        verbose_name_plural = _("head of the log")

    def __str__(self) -> str:
        return str(self.position)
