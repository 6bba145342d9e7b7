"""Leave that was taken back."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Revocation(models.Model):
    """
    Tickets for a subject (a user, a session, a listener) that were made before count no more.

    Kept until `expires_at`, when the last of them has ended by itself.
    """

    subject = models.CharField(_("subject"), max_length=255, unique=True)
    revoked_at = models.DateTimeField(_("revoked"))
    expires_at = models.DateTimeField(_("expires"), db_index=True)

    class Meta:
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")

    def __str__(self) -> str:
        return self.subject
