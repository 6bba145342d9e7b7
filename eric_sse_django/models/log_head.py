"""The head of the log."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class LogHead(models.Model):
    """
    The one row whose lock gives the log its order. `position` is the last one given.

    No foreign key points here: publishing must never touch it.
    """

    THE_ONE = 1

    position = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("head of the log")
        verbose_name_plural = _("head of the log")

    def __str__(self) -> str:
        return str(self.position)
