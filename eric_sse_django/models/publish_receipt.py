"""What was answered to a publishing request that can be sent again."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.manager import LogManager
from eric_sse_django.models.users import UserKey


class PublishReceipt(models.Model):
    """
    One Idempotency-Key of a user's: inserted in the transaction of the messages it is for.

    Keys are stored as digests, which no collation takes for each other. The user's key
    has no constraint in the database: MariaDB would lock the user's row.
    """

    user = UserKey(db_index=False)  # the unique constraint below begins with it
    key = models.CharField(max_length=64)
    request = models.CharField(max_length=64, help_text="Digest of method, path and body.")
    answer = models.TextField(help_text="JSON text.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = LogManager["PublishReceipt"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("publish receipt")
        verbose_name_plural = _("publish receipts")
        default_permissions = ()
        constraints = [
            # Of two requests with one key at once, the second waits here for the first.
            models.UniqueConstraint(fields=["user", "key"], name="eric_receipt_key"),
        ]
        indexes = [
            # trim(): what has expired, oldest first.
            models.Index(fields=["created_at"], name="eric_receipt_age"),
        ]

    def __str__(self) -> str:
        return self.key
