"""The absences of listeners for which the signal was sent."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models import Listener
from eric_sse_django.models.base import LogManager


class Absence(models.Model):
    """
    An absence for which the signal was sent: as long as the listener's cursor is the same.

    `notified_at` is None if all receivers failed.
    """

    listener = models.OneToOneField(
        Listener,
        models.CASCADE,
        primary_key=True,
        related_name="absence",
        verbose_name=_("listener"),
    )
    cursor = models.BigIntegerField(_("cursor"))
    notified_at = models.DateTimeField(_("notified"), null=True)

    objects = LogManager["Absence"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("absence")
        verbose_name_plural = _("absences")

    def __str__(self) -> str:
        return str(self.listener_id)
