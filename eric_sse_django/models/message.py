"""The log's rows."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.channel import Channel
from eric_sse_django.models.listener import Listener
from eric_sse_django.models.manager import LogManager
from eric_sse_django.models.users import UserKey

TYPE_MAX_LENGTH = 255


class QueuedMessage(models.Model):
    """
    One message in the log: to all (no listener, no owner), to one listener, or to one owner.

    The foreign keys have no constraint in the database: MariaDB locks the parent
    row on each child INSERT (a stall of 1.75 s was measured), and removing a listener
    or a user must not scan the log. What is left over goes with retention.
    """

    position = models.BigIntegerField(_("position"), null=True, editable=False)
    channel = models.ForeignKey(
        Channel,
        models.DO_NOTHING,  # in batches, after the commit: operations.on_channel_deleted()
        related_name="+",
        verbose_name=_("channel"),
        db_constraint=False,
        db_index=False,
    )
    listener = models.ForeignKey(
        Listener,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        verbose_name=_("listener"),
        db_constraint=False,
        db_index=False,
    )
    owner = UserKey(
        null=True, on_delete=models.DO_NOTHING, verbose_name=_("owner"), db_index=False
    )
    type = models.CharField(_("type"), max_length=TYPE_MAX_LENGTH)
    payload = models.TextField(_("payload"), help_text=_("JSON text."))
    sender = models.CharField(  # noqa: DJ001 - null: the message was not signed
        _("sender"), max_length=255, null=True, editable=False
    )
    uid = models.CharField(  # noqa: DJ001 - null: the message was not a UniqueMessage
        _("message id"), max_length=255, null=True, editable=False
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), editable=False)
    perishable = models.BooleanField(
        _("perishable"),
        default=False,
        db_default=False,  # servers of the version before write rows meanwhile
        editable=False,
        help_text=_("It expires by its own lifetime, and does not count as missed then."),
    )

    objects = LogManager["QueuedMessage"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        indexes = [
            # tail(): what came after a position. pending(): committed, without one.
            # Not unique: uniqueness comes from the lock on LogHead, and `id` in it
            # lets PostgreSQL read the pending rows in their order without sorting.
            models.Index(fields=["position", "id"], name="eric_log_tail"),
            # read(): what one listener has not seen, in order, one range for each
            # way of being addressed.
            models.Index(
                fields=["channel", "listener", "owner", "position"], name="eric_log_read"
            ),
            # trim(): what is past its retention, oldest first.
            models.Index(fields=["expires_at"], name="eric_log_expiry"),
        ]

    def __str__(self) -> str:
        return _("%(type)s at %(position)s") % {"type": self.type, "position": self.position}
