"""Channels, listeners and the log of messages."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# What can stand in one segment of a URL's path without being escaped or
# normalised away: so no "/", and not "." or "..", which browsers resolve.
IDENTIFIER = r"^(?!\.{1,2}$)[A-Za-z0-9_.:@~+-]{1,128}\Z"
IDENTIFIER_WORDS = _(
    "Use 1 to 128 of the characters A-Z a-z 0-9 _ . : @ ~ + - (and not just one or two dots)."
)
IDENTIFIER_MAX_LENGTH = 128
TYPE_MAX_LENGTH = 255

is_identifier = RegexValidator(IDENTIFIER, IDENTIFIER_WORDS)


class Channel(models.Model):
    """What messages are published to."""

    class Format(models.TextChoices):
        JSON = "json", _("JSON, on one line")
        TEXT = "text", _("text, as it is (for htmx)")

    name = models.CharField(
        _("id"), max_length=IDENTIFIER_MAX_LENGTH, unique=True, validators=[is_identifier]
    )
    format = models.CharField(
        _("format"), max_length=4, choices=Format.choices, default=Format.JSON
    )
    retention_s = models.PositiveBigIntegerField(
        _("retention in seconds"),
        null=True,
        blank=True,
        validators=[MinValueValidator(60)],
        help_text=_("How long new messages are kept. Empty: ERIC_SSE['RETENTION_S']."),
    )
    floor = models.BigIntegerField(
        _("floor"),
        default=0,
        editable=False,
        help_text=_("Highest position of a broadcast that retention has removed."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("channel")
        verbose_name_plural = _("channels")

    def __str__(self) -> str:
        return self.name


class Listener(models.Model):
    """One durable subscriber of a channel: a user's device, a worker."""

    channel = models.ForeignKey(
        Channel,
        models.CASCADE,
        related_name="listeners",
        verbose_name=_("channel"),
        db_index=False,  # the unique constraint below begins with it
    )
    name = models.CharField(_("id"), max_length=IDENTIFIER_MAX_LENGTH, validators=[is_identifier])
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("owner"),
    )
    running = models.BooleanField(_("running"), default=False)
    start = models.BigIntegerField(
        _("start"),
        default=0,
        editable=False,
        help_text=_("Head of the log when it was added: earlier messages are not its own."),
    )
    cursor = models.BigIntegerField(
        _("cursor"),
        default=0,
        editable=False,
        help_text=_("Position up to which it has been served."),
    )
    floor = models.BigIntegerField(
        _("floor"),
        default=0,
        editable=False,
        help_text=_("Highest position of a message of its own, removed before it was served."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_seen = models.DateTimeField(_("last seen"), null=True, editable=False)

    class Meta:
        verbose_name = _("listener")
        verbose_name_plural = _("listeners")
        constraints = [
            # Finding one by the two ids of its URL, and all of a channel's.
            models.UniqueConstraint(fields=["channel", "name"], name="eric_listener_name"),
        ]

    def __str__(self) -> str:
        return self.name


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
        models.CASCADE,
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
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        verbose_name=_("owner"),
        db_constraint=False,
        db_index=False,
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

    class Meta:
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
        return f"{self.type} at {self.position}"


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
