"""The log: its messages and its head."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.base import LogManager
from eric_sse_django.models.channel import Channel
from eric_sse_django.models.users import UserKey

TYPE_MAX_LENGTH = 255


class LogHead(models.Model):
    """
    The only row, whose lock gives the log its order. `position` is the last one given.

    By the other columns a hub finds out whether this is still the same history. `identity` is
    the identity of the database server, if it has one. `trimmed` is the highest position that
    was removed. `marked_at` is when the message at `marked` (usually `position`) was published.

    No foreign key points here: publishing must never lock it.
    """

    THE_ONE = 1

    position = models.BigIntegerField(default=0)
    # With defaults in the database: servers of the previous version may create the row.
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


class QueuedMessage(models.Model):
    """
    One message in the log: to all (no listener, no owner), to one listener, or to one owner.

    The foreign keys have no constraint in the database: MariaDB locks the parent row on each
    child INSERT (a stall of 1.75 s was measured), and removing a listener or a user must not
    scan the log. Retention removes the remaining rows.
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
        "Listener",
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
    sender = models.CharField(  # noqa: DJ001 - null: the message is not signed
        _("sender"), max_length=255, null=True, editable=False
    )
    uid = models.CharField(  # noqa: DJ001 - null: it is not a UniqueMessage
        _("message id"), max_length=255, null=True, editable=False
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), editable=False)
    perishable = models.BooleanField(
        _("perishable"),
        default=False,
        db_default=False,  # servers of the previous version write rows too
        editable=False,
        help_text=_("It expires by its own lifetime, and does not count as missed then."),
    )

    objects = LogManager["QueuedMessage"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        indexes = [
            # tail(): rows after a position. pending(): committed rows without one.
            # Not unique: the lock on LogHead makes positions unique, and with `id` PostgreSQL
            # reads the pending rows in their order without sorting.
            models.Index(fields=["position", "id"], name="eric_log_tail"),
            # read(): what one listener has not been served, in order: one range for each kind
            # of recipient.
            models.Index(
                fields=["channel", "listener", "owner", "position"], name="eric_log_read"
            ),
            # trim(): rows whose retention is over, oldest first.
            models.Index(fields=["expires_at"], name="eric_log_expiry"),
        ]

    def __str__(self) -> str:
        return _("%(type)s at %(position)s") % {"type": self.type, "position": self.position}
